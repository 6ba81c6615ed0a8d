//! Works on the files of snapshots that go to other nodes and come from them: the driver never waits for the disk.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::Event;
use super::shared::Shared;
use crate::snapshot::{Done, Job, SnapshotStore, Transfer};

/// How many jobs may wait. The replica has no more than one read for each follower and one write under way.
const JOBS_MAX: usize = 1_024;

/// The asking side. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct TransferThread {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl TransferThread {
    pub(crate) fn start(store: Arc<SnapshotStore>, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (jobs, asked) = sync_channel(JOBS_MAX);
        let name = format!("boat-{}-transfer", shared.node);
        let mut transfer = Transfer::new(store);
        #[expect(clippy::disallowed_methods, reason = "the driver must not wait for the disk")]
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            for job in asked {
                match transfer.carry_out(job) {
                    Ok(done) => tell(done, &shared),
                    Err(error) => return shared.inbox.push(Event::StorageFailed(error.to_string())),
                }
            }
        })?;
        Ok(TransferThread { jobs: Some(jobs), thread: Some(thread) })
    }

    pub(crate) fn ask(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // When the thread is gone, why is in the inbox.
            let _ = jobs.send(job);
        }
    }

    /// Ends the thread.
    pub(crate) fn finish(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the transfer thread panicked");
        }
    }
}

/// Tells the driver, or the applier, of a job that was done.
fn tell(done: Done, shared: &Shared) {
    match done {
        Done::Tell(input) => shared.inbox.push(Event::Snapshot(Box::new(input))),
        Done::Installed(Some(kept)) => {
            shared.tell_snapshot(&kept, true);
            shared.feed.install(kept.name.index);
        }
        Done::Installed(None) => {
            let why = "the snapshot that the log goes on from is gone";
            shared.inbox.push(Event::ApplierFailed(why.to_owned()));
        }
    }
}
