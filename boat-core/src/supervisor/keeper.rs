//! One child, kept running.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::backoff::Backoff;
use super::child::{ChildSpec, HookError, Life};
use super::event::{Event, Reporter};
use super::{SupervisorError, SupervisorOptions, USAGE_STATUS};

/// How long a child may take to disappear after SIGKILL. The kernel needs milliseconds, unless the process hangs in a
/// system call that cannot be interrupted.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// How urgently to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    No,
    Terminate,
    Kill,
}

impl Stop {
    /// What one more signal asks for.
    pub(super) fn next(self) -> Self {
        match self {
            Stop::No => Stop::Terminate,
            Stop::Terminate | Stop::Kill => Stop::Kill,
        }
    }
}

/// Starts one child, again and again, until it is told to stop.
#[derive(Debug)]
pub(super) struct Keeper {
    spec: ChildSpec,
    options: SupervisorOptions,
    reporter: Arc<Reporter>,
    stop: watch::Receiver<Stop>,
    backoff: Backoff,
}

impl Keeper {
    pub(super) fn new(
        spec: ChildSpec,
        options: SupervisorOptions,
        reporter: Arc<Reporter>,
        stop: watch::Receiver<Stop>,
    ) -> Self {
        let backoff = Backoff::new(&options);
        Self { spec, options, reporter, stop, backoff }
    }

    /// Returns once the child has ended for good: because of a stop, or with the error for which all must end.
    pub(super) async fn keep(mut self) -> Result<(), SupervisorError> {
        if *self.stop.borrow() > Stop::No {
            return Ok(());
        }
        let mut life = self
            .start()
            .map_err(|reason| SupervisorError::Start { name: self.name(), reason: reason.to_string() })?;
        loop {
            let status = tokio::select! {
                biased;
                () = asked(&mut self.stop, Stop::Terminate) => return self.end(life).await,
                status = life.ended() => status,
            };
            if self.report_end(&life, status)?.code() == Some(USAGE_STATUS.into()) {
                return Err(SupervisorError::Usage { name: self.name() });
            }
            let delay = self.backoff.after(life.age());
            match self.start_again(delay).await {
                Some(next) => life = next,
                None => return Ok(()),
            }
        }
    }

    fn name(&self) -> String {
        self.spec.name().to_owned()
    }

    fn start(&self) -> io::Result<Life> {
        let life = self.spec.start()?;
        self.reporter.report(&Event::Started { name: self.name(), pid: life.pid() });
        Ok(life)
    }

    fn report_end(&self, life: &Life, status: io::Result<ExitStatus>) -> Result<ExitStatus, SupervisorError> {
        let status = status.map_err(|source| SupervisorError::Wait { name: self.name(), source })?;
        let (name, pid, ran) = (self.name(), life.pid(), life.age());
        self.reporter.report(&Event::Exited { name, pid, status, ran });
        Ok(status)
    }

    /// Tries after each delay until it has started, or until a stop: then none.
    async fn start_again(&mut self, mut delay: Duration) -> Option<Life> {
        loop {
            self.reporter.report(&Event::Restarting { name: self.name(), delay });
            let prepare = async {
                tokio::time::sleep(delay).await;
                self.spec.prepare_restart(self.options.before_restart_timeout).await
            };
            let prepared = tokio::select! {
                biased;
                () = asked(&mut self.stop, Stop::Terminate) => return None,
                prepared = prepare => prepared,
            };
            match prepared.and_then(|()| self.start().map_err(HookError::from)) {
                Ok(life) => return Some(life),
                Err(reason) => {
                    let reason = reason.to_string();
                    self.reporter.report(&Event::StartFailed { name: self.name(), reason });
                    delay = self.backoff.after(Duration::ZERO);
                }
            }
        }
    }

    /// Ends it: asks first, then kills.
    async fn end(&mut self, mut life: Life) -> Result<(), SupervisorError> {
        life.terminate();
        let ended = tokio::select! {
            biased;
            status = life.ended() => Some(status),
            () = asked(&mut self.stop, Stop::Kill) => None,
            () = tokio::time::sleep(self.options.shutdown_timeout) => None,
        };
        let status = match ended {
            Some(status) => status,
            None => self.kill(&mut life).await?,
        };
        self.report_end(&life, status)?;
        Ok(())
    }

    async fn kill(&self, life: &mut Life) -> Result<io::Result<ExitStatus>, SupervisorError> {
        let (name, pid) = (self.name(), life.pid());
        self.reporter.report(&Event::Killing { name: name.clone(), pid });
        life.kill_group();
        tokio::time::timeout(KILL_TIMEOUT, life.ended()).await.map_err(|_| SupervisorError::Unkillable {
            name,
            pid,
            waited: KILL_TIMEOUT,
        })
    }
}

/// Waits until at least this is asked for. Without a supervisor everything is.
async fn asked(stop: &mut watch::Receiver<Stop>, least: Stop) {
    // An error says that the sender is gone, and with it whoever would wait for this child.
    let _gone = stop.wait_for(|stop| *stop >= least).await.is_err();
}
