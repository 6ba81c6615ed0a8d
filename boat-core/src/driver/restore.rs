//! How a predictor's life begins: from the newest snapshot, from the one before, or fresh; and when one is taken.

use super::apply_loop::{ApplyLoop, End, RETRY_WAIT};
use crate::apply::Applier;
use crate::log::LogError;
use crate::snapshot::Kept;
use crate::{Predictor, PredictorError, StateKind};

impl<P: Predictor> ApplyLoop<P> {
    /// Makes the predictor what it was as of the applier that is returned: the log behind that is to be applied.
    pub(super) async fn begin(&mut self) -> Result<Applier, End> {
        self.shared.lanes.own_thread().await;
        self.snapshots.begun();
        if std::mem::take(&mut self.distrusts) {
            self.forget_snapshots()?;
        }
        if self.snapshots.state_kind() != StateKind::Replay {
            for kept in self.snapshots.store.kept() {
                if let Some(applier) = self.restore(&kept).await? {
                    return Ok(applier);
                }
            }
        }
        let first_index = self.reader.first_index();
        if first_index > 1 {
            return Err(End::Fatal(format!(
                "the log begins with entry {first_index}, and no snapshot gives this predictor the state before it"
            )));
        }
        self.reset().await?;
        Ok(Applier::new(self.limits))
    }

    /// The state has proved to be wrong, and snapshots may hold it: it is rebuilt from the first entry on. Where that was cut
    /// off, this directory is of no use any more; a new incarnation gets a snapshot of a node that is right.
    fn forget_snapshots(&self) -> Result<(), End> {
        let first_index = self.reader.first_index();
        if first_index > 1 {
            return Err(End::Damaged(format!(
                "the model's state is wrong, its snapshots may be, and the log begins with entry {first_index}"
            )));
        }
        self.shared.set_snapshot(None);
        self.snapshots.store.forget(self.shared.applied().index).map_err(End::Unreadable)
    }

    /// Restores one snapshot; `None` where it is damaged, or not this predictor's.
    async fn restore(&mut self, kept: &Kept) -> Result<Option<Applier>, End> {
        let (node, index) = (self.shared.node, kept.name.index);
        if kept.about.state_kind != self.snapshots.state_kind() {
            log::warn!("node {node}: the snapshot as of entry {index} is of another kind of predictor");
            return Ok(None);
        }
        if !self.shared.wellbeing.decisions().agree(&kept.about.decisions, kept.about.position) {
            log::warn!(
                "node {node}: the snapshot as of entry {index} holds a request that is quarantined now"
            );
            return Ok(None);
        }
        let mut wait = RETRY_WAIT.0;
        loop {
            let unusable = match self.try_restore(index).await {
                Ok(applier) => {
                    log::info!(
                        "node {node}: goes on from the snapshot as of position {}",
                        applier.position()
                    );
                    self.healthy();
                    return Ok(Some(applier));
                }
                Err(Unrestored::Unreadable(error)) if error.is_damage() => error.to_string(),
                Err(Unrestored::Unreadable(error)) => return Err(End::Unreadable(error)),
                Err(Unrestored::Predictor(PredictorError::StateLost(why))) => why,
                Err(Unrestored::Predictor(PredictorError::Unavailable(why))) => {
                    self.unavailable(why, &mut wait).await?;
                    continue;
                }
            };
            log::warn!("node {node}: the snapshot as of entry {index} is not used: {unusable}");
            return Ok(None);
        }
    }

    async fn try_restore(&mut self, index: u64) -> Result<Applier, Unrestored> {
        let mut reader = self.snapshots.store.reader(index)?;
        let applier = reader.applier(self.limits)?;
        let mut state = reader.predictor();
        let restored = self.predictor.restore(&mut state).await;
        // Damage explains whatever the predictor says of it.
        state.finish()?;
        restored.map_err(Unrestored::Predictor)?;
        Ok(applier)
    }

    /// Takes a snapshot between two batches, if one is due.
    pub(super) async fn snapshot_if_due(&mut self, applier: &Applier) -> Result<(), End> {
        if !self.snapshots.is_due(applier) {
            return Ok(());
        }
        self.shared.lanes.own_thread().await;
        match self.predictor.freeze().await {
            Ok(frozen) => self.snapshots.write(applier, frozen),
            Err(PredictorError::StateLost(why)) => return Err(End::StateLost(why)),
            Err(PredictorError::Unavailable(why)) => {
                log::warn!("node {}: no snapshot: {why}", self.shared.node);
                self.snapshots.begun();
            }
        }
        Ok(())
    }
}

/// Why a snapshot was not restored.
enum Unrestored {
    Unreadable(LogError),
    Predictor(PredictorError),
}

impl From<LogError> for Unrestored {
    fn from(error: LogError) -> Self {
        Unrestored::Unreadable(error)
    }
}
