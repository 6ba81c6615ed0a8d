//! The parts of an inspection.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::SnapshotView;
use crate::log::{SegmentFile, StoppedLog};
use crate::{Birth, ClusterId, Member, Membership, NodeId, RaftId};

/// What a data directory holds. Shown as text it is for people; serialized, random names are hexadecimal text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The directory.
    pub directory: PathBuf,
    /// Whose it is; `None` where no node ever finished its first start, or the file is damaged.
    pub identity: Option<IdentityView>,
    /// The cluster it belongs to; `None` while it belongs to none, or the file is damaged.
    pub genesis: Option<GenesisView>,
    /// Why it must not be used any more under its identity, if that was found out.
    pub stale: Option<String>,
    /// The log; `None` where there is none, or not even its last segment can be read.
    pub log: Option<LogView>,
    /// The snapshots, newest first.
    pub snapshots: Vec<SnapshotView>,
    /// What is damaged, as far as it shows without reading everything;
    /// [`StoppedDirectory::verify`](super::StoppedDirectory::verify) reads everything.
    pub problems: Vec<String>,
}

/// Whose a directory is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IdentityView {
    /// The node.
    pub node: NodeId,
    /// The directory's random name.
    #[serde(serialize_with = "as_text")]
    pub birth: Birth,
    /// How often a node was started in it.
    pub boots: u64,
}

/// What a cluster started from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GenesisView {
    /// The cluster's random name.
    #[serde(serialize_with = "as_text")]
    pub cluster: ClusterId,
    /// Who this directory is in it.
    #[serde(serialize_with = "as_text")]
    pub raft_id: RaftId,
    /// The founding members.
    pub members: Vec<MemberView>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberView {
    /// Its node id and incarnation.
    #[serde(serialize_with = "as_text")]
    pub raft_id: RaftId,
    /// `voter`, `learner`, or what it is while the membership changes: `outgoing voter`, `voter, outgoing voter`, ...
    pub role: String,
    /// The birth of its directory.
    #[serde(serialize_with = "as_text")]
    pub birth: Birth,
    /// Where its peers reach it.
    pub address: String,
}

/// Who takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MembershipView {
    /// The entry that made it so; 0 for the genesis.
    pub index: u64,
    /// The members, by rising Raft id.
    pub members: Vec<MemberView>,
}

/// What a log holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogView {
    /// The first index; 1 in an empty log.
    pub first_index: u64,
    /// The last index; 0 in an empty log.
    pub last_index: u64,
    /// The last entry's term; 0 in an empty log.
    pub last_term: u64,
    /// The position of the last committed request; `None` if it was not asked for or cannot be found.
    pub last_position: Option<u64>,
    /// Term, vote and commit.
    pub hard_state: HardStateView,
    /// How far the log had been synced.
    pub watermark: WatermarkView,
    /// The membership as of the commit; `None` without a genesis.
    pub membership: Option<MembershipView>,
    /// The latest membership, where it stands above the commit.
    pub membership_latest: Option<MembershipView>,
    /// The segments, oldest first.
    pub segments: Vec<SegmentView>,
    /// Files that were never finished; the next start of the node removes them.
    pub unfinished: Vec<String>,
    /// What the next start of the node cuts off at the end.
    pub torn_tail: Option<TornTailView>,
}

/// What Raft must not forget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HardStateView {
    /// The latest term seen.
    pub term: u64,
    /// Who was voted for in it.
    #[serde(serialize_with = "as_text_if_any")]
    pub vote: Option<RaftId>,
    /// The highest index known to be committed.
    pub commit: u64,
}

/// How far a log had been synced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WatermarkView {
    /// The term then.
    pub term: u64,
    /// Who was voted for in it.
    #[serde(serialize_with = "as_text_if_any")]
    pub vote: Option<RaftId>,
    /// The last index.
    pub last_index: u64,
    /// The last entry's term.
    pub last_term: u64,
    /// The id of the last segment.
    pub segment: u64,
    /// Up to where it was synced, in bytes.
    pub segment_bytes: u64,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentView {
    /// Its file's name.
    pub file: String,
    /// Its file's length, zeros taken ahead of the writes included.
    pub bytes: u64,
    /// Whether it is finished and never changes again.
    pub sealed: bool,
    /// The first index in it that was not overwritten; `None` if there is none, as for `last_index`.
    pub first_index: Option<u64>,
    /// The last index in it that was not overwritten.
    pub last_index: Option<u64>,
    /// The position of the first committed request in it; `None` if there is none, or [`LogView::last_position`] is.
    pub first_position: Option<u64>,
    /// The position of the last committed request in it.
    pub last_position: Option<u64>,
}

/// The remains of writes that were never synced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TornTailView {
    /// The last segment.
    pub file: PathBuf,
    /// Where they begin, in bytes.
    pub offset: u64,
    /// How long they are.
    pub bytes: u64,
    /// What is wrong there.
    pub why: String,
}

fn as_text<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_text_if_any<T: fmt::Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.as_ref().map(ToString::to_string).serialize(serializer)
}

impl LogView {
    pub(super) fn of(log: &StoppedLog, genesis: Option<Membership>) -> LogView {
        let (state, hard_state, watermark) = (&log.state, &log.state.hard_state, &log.watermark);
        let latest = state.memberships.last().filter(|latest| latest.index > hard_state.commit);
        let torn_tail = log.torn.as_ref().map(|torn| TornTailView {
            file: torn.file.clone(),
            offset: torn.offset,
            bytes: torn.bytes,
            why: torn.why.to_owned(),
        });
        LogView {
            first_index: state.first_index,
            last_index: state.last_index,
            last_term: state.last_term(),
            last_position: None,
            hard_state: HardStateView {
                term: hard_state.term,
                vote: vote(hard_state.vote),
                commit: hard_state.commit,
            },
            watermark: WatermarkView {
                term: watermark.term,
                vote: vote(watermark.vote),
                last_index: watermark.last_index,
                last_term: watermark.last_term,
                segment: watermark.segment,
                segment_bytes: watermark.segment_bytes,
            },
            membership: state.membership().or(genesis.as_ref()).map(MembershipView::of),
            membership_latest: latest.map(MembershipView::of),
            segments: log.segments.iter().map(|file| SegmentView::of(file, log)).collect(),
            unfinished: log.unfinished.clone(),
            torn_tail,
        }
    }

    /// Where a replay ended early, what it found so far would look like all there is.
    pub(super) fn forget_positions(&mut self) {
        for segment in &mut self.segments {
            (segment.first_position, segment.last_position) = (None, None);
        }
    }
}

fn vote(raft_id: u64) -> Option<RaftId> {
    Some(RaftId(raft_id)).filter(|id| id.0 != 0)
}

impl SegmentView {
    fn of(file: &SegmentFile, log: &StoppedLog) -> SegmentView {
        let spans = log.spans.iter().filter(|span| span.segment == file.id);
        SegmentView {
            file: name(&file.path),
            bytes: file.bytes,
            sealed: file.sealed,
            first_index: spans.clone().map(|span| span.first_index).min(),
            last_index: spans.map(|span| span.end_index - 1).max(),
            first_position: None,
            last_position: None,
        }
    }
}

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl MembershipView {
    pub(super) fn of(membership: &Membership) -> MembershipView {
        let member = |member: &Member| MemberView {
            raft_id: member.raft_id,
            role: role(membership, member.raft_id),
            birth: member.birth,
            address: member.address.clone(),
        };
        MembershipView { index: membership.index, members: membership.members.values().map(member).collect() }
    }
}

fn role(membership: &Membership, id: RaftId) -> String {
    let lists = [
        (&membership.voters, "voter"),
        (&membership.learners, "learner"),
        (&membership.voters_outgoing, "outgoing voter"),
        (&membership.learners_next, "next a learner"),
    ];
    let roles: Vec<&str> =
        lists.iter().filter(|(list, _)| list.contains(&id)).map(|(_, role)| *role).collect();
    roles.join(", ")
}
