//! What a directory holds.

use super::replay::Replay;
use super::view::{GenesisView, IdentityView, Inspection, LogView, MembershipView};
use super::{InspectError, Progress, StoppedDirectory, snapshots};
use crate::directory::{self, GENESIS, IDENTITY, STALE};
use crate::log::StoppedLog;
use crate::log::files::ReadOnlyFiles;

pub(super) fn inspect(
    stopped: &StoppedDirectory,
    with_positions: bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Inspection, InspectError> {
    let path = &stopped.path;
    let mut problems = Vec::new();
    let identity = directory::identity(&ReadOnlyFiles, path);
    let identity = noted(&mut problems, identity.map_err(InspectError::reading(&path.join(IDENTITY))))?;
    let genesis = directory::genesis(&ReadOnlyFiles, path);
    let genesis =
        noted(&mut problems, genesis.map_err(InspectError::reading(&path.join(GENESIS))))?.flatten();
    let stale = directory::stale(&ReadOnlyFiles, path).map_err(InspectError::io(&path.join(STALE)))?;
    let log = noted(&mut problems, stopped.log().map_err(InspectError::Log))?.flatten();
    let mut view =
        log.as_ref().map(|log| LogView::of(log, genesis.as_ref().map(|(genesis, _)| genesis.membership())));
    problems.extend(log.iter().filter_map(|log| log.problem.as_ref()).map(ToString::to_string));
    let (snapshots, damaged) = snapshots::views(stopped)?;
    problems.extend(damaged.iter().map(ToString::to_string));
    if let (true, Some(log), Some(view)) = (with_positions, &log, &mut view) {
        let found = find_positions(stopped, log, view, progress);
        if noted(&mut problems, found)?.is_none() {
            view.forget_positions();
        }
    }
    Ok(Inspection {
        directory: path.clone(),
        identity: identity.flatten().map(|identity| IdentityView {
            node: identity.node,
            birth: identity.birth,
            boots: identity.boots,
        }),
        genesis: genesis.map(|(genesis, raft_id)| GenesisView {
            cluster: genesis.cluster,
            raft_id,
            members: MembershipView::of(&genesis.membership()).members,
        }),
        stale,
        log: view,
        snapshots,
        problems,
    })
}

/// What was read; `None` where that is damaged or cannot be known, which is noted.
fn noted<T>(problems: &mut Vec<String>, read: Result<T, InspectError>) -> Result<Option<T>, InspectError> {
    match read {
        Err(error) if error.is_damage() => {
            problems.push(error.to_string());
            Ok(None)
        }
        Err(InspectError::NoPositions(_)) => Ok(None),
        read => read.map(Some),
    }
}

/// Replays the log to find which positions stand in which segment.
fn find_positions(
    stopped: &StoppedDirectory,
    log: &StoppedLog,
    view: &mut LogView,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), InspectError> {
    let mut replay = Replay::new(stopped, Some(log), Box::new(progress))?;
    let mut spans = log.spans.iter().peekable();
    while let Some(replayed) = replay.next()? {
        while spans.next_if(|span| span.end_index <= replayed.entry.index).is_some() {}
        let mut given = replayed.positions.iter().flatten().copied();
        let Some(first) = given.next() else { continue };
        let place =
            spans.peek().and_then(|span| log.segments.iter().position(|file| file.id == span.segment));
        if let Some(segment) = place.and_then(|place| view.segments.get_mut(place)) {
            segment.first_position.get_or_insert(first);
            segment.last_position = Some(given.next_back().unwrap_or(first));
        }
    }
    view.last_position = Some(replay.position());
    Ok(())
}
