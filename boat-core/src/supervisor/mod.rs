//! Runs several processes as one program: starts what dies again, ends everything together, leaves nothing behind.
//!
//! A [`Supervisor`] runs children, by default this very program with other arguments ([`ChildSpec`]). It alone decides
//! when they end:
//! - A child that dies is started again after a delay that doubles with each quick death. One that ends with
//!   [`USAGE_STATUS`] would only do so again: then the whole ends.
//! - Ctrl-C or SIGTERM: children get SIGTERM, and SIGKILL after [`SupervisorOptions::shutdown_timeout`]. A second signal
//!   sends SIGKILL at once. Children stand in process groups of their own, so a terminal's ctrl-C does not reach them
//!   twice.
//! - The supervisor is killed with SIGKILL: children that called [`watch_parent`] die with it.
//!
//! What a child has started itself is in the child's process group and is killed when the child has ended.
//!
//! Beside it stand the other things that a program of several processes needs: [`check_ports`] before anything starts,
//! and a [`TemporaryDirectory`] that is removed even if it takes until the next start.
//!
//! ```
//! use boat_core::supervisor::{ChildSpec, Supervisor, SupervisorError, SupervisorOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! let ended = runtime.block_on(async {
//!     Supervisor::new(SupervisorOptions::default())?
//!         .child(ChildSpec::new("node 0").program("/bin/sleep").args(["1000"]))
//!         .child(ChildSpec::new("node 1").program("/bin/sh").args(["-c", "exit 64"]))
//!         .run()
//!         .await
//! });
//! assert!(matches!(ended, Err(SupervisorError::Usage { name }) if name == "node 1"));
//! # Ok(())
//! # }
//! ```

mod backoff;
mod child;
mod directory;
mod error;
mod event;
mod keeper;
mod parent;
mod ports;
mod procfs;
mod signals;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;

pub use child::{ChildSpec, HookError};
pub use directory::{TemporaryDirectory, TemporaryDirectoryError};
pub use error::SupervisorError;
pub use event::Event;
pub use parent::watch_parent;
pub use ports::{PortNeed, PortOwner, PortProblem, PortsError, check_ports};
pub use signals::{StopSignal, StopSignals};

use event::Reporter;
use keeper::{Keeper, Stop};

/// The exit status by which a child says that its flags or configuration are wrong (`EX_USAGE` of BSD's `sysexits.h`):
/// it is not started again.
pub const USAGE_STATUS: u8 = 64;

/// How a [`Supervisor`] waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisorOptions {
    /// How long children have between SIGTERM and SIGKILL. Default 4 s, so that with what follows all is over within
    /// 5 s of a ctrl-C.
    pub shutdown_timeout: Duration,
    /// How long to wait before the first start again. Doubles with each quick death. Default 100 ms.
    pub backoff_first: Duration,
    /// The longest wait before a start. Default 5 s.
    pub backoff_max: Duration,
    /// A child that ran this long was healthy: its next wait is `backoff_first` again. Default 10 s.
    pub healthy_after: Duration,
    /// How long a child's `before_restart` may take; then it counts as failed. Default 60 s.
    pub before_restart_timeout: Duration,
}

impl Default for SupervisorOptions {
    fn default() -> Self {
        Self {
            shutdown_timeout: Duration::from_secs(4),
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            healthy_after: Duration::from_secs(10),
            before_restart_timeout: Duration::from_secs(60),
        }
    }
}

/// Several processes that live and end together. The [module](self) says how, with an example.
#[derive(Debug)]
pub struct Supervisor {
    options: SupervisorOptions,
    children: Vec<ChildSpec>,
    reporter: Arc<Reporter>,
    signals: StopSignals,
}

type Kept = Pin<Box<dyn Future<Output = Result<(), SupervisorError>> + Send>>;

impl Supervisor {
    /// A supervisor without children. From here on ctrl-C and SIGTERM no longer end the process: a signal that comes
    /// before [`run`](Self::run) is acted on there. So make this first, and the ports' check and directories after it.
    ///
    /// # Errors
    /// [`SupervisorError::Signals`] if the signals cannot be listened for.
    ///
    /// # Panics
    /// Outside a tokio runtime with its IO driver on.
    pub fn new(options: SupervisorOptions) -> Result<Self, SupervisorError> {
        let signals = StopSignals::listen().map_err(SupervisorError::Signals)?;
        Ok(Self { options, children: Vec::new(), reporter: Arc::new(Reporter::default()), signals })
    }

    /// Adds a child. They are started in the order in which they were added.
    #[must_use]
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    /// Calls `observer` with each event, after it was logged. It runs on the supervisor's own task: it must not block.
    #[must_use]
    pub fn on_event(mut self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.reporter = Arc::new(Reporter::new(observer));
        self
    }

    /// Starts the children and keeps them running until ctrl-C or SIGTERM; returns once none is left. Without children
    /// it returns at once.
    ///
    /// Await it in the runtime's root future (`block_on`, `#[tokio::main]`), not in a spawned task: Linux tells children
    /// of their parent's death when the *thread* that started them ends, and only the root future stays on one.
    /// Dropping the future kills the children with SIGKILL.
    ///
    /// # Errors
    /// The first thing that went wrong, once every other child has ended too: a child that could not be started the
    /// first time, that ended with [`USAGE_STATUS`], or that outlived SIGKILL. Later starts that fail are tried again.
    pub async fn run(self) -> Result<(), SupervisorError> {
        let Self { options, children, reporter, mut signals } = self;
        let (stop, stopped) = watch::channel(Stop::No);
        let keep = |spec| -> Kept {
            Box::pin(Keeper::new(spec, options.clone(), Arc::clone(&reporter), stopped.clone()).keep())
        };
        let mut kept: Vec<Kept> = children.into_iter().map(keep).collect();
        let mut result = Ok(());
        while !kept.is_empty() {
            tokio::select! {
                biased;
                signal = signals.next() => {
                    let urgency = stop.borrow().next();
                    reporter.report(&Event::Stopping { why: signal.to_string(), at_once: urgency == Stop::Kill });
                    stop.send_replace(urgency);
                }
                ended = next_ended(&mut kept) => if let Err(error) = ended {
                    let urgency = (*stop.borrow()).max(Stop::Terminate);
                    reporter.report(&Event::Stopping { why: error.to_string(), at_once: urgency == Stop::Kill });
                    stop.send_replace(urgency);
                    result = result.and(Err(error));
                },
            }
        }
        result
    }
}

/// Polls them all; the first that ends is removed from the list. Children are few, so polling all costs nothing, and it
/// keeps them on the thread of the root future.
async fn next_ended(kept: &mut Vec<Kept>) -> Result<(), SupervisorError> {
    poll_fn(|context| {
        for (place, keeper) in kept.iter_mut().enumerate() {
            if let Poll::Ready(result) = keeper.as_mut().poll(context) {
                drop(kept.swap_remove(place));
                return Poll::Ready(result);
            }
        }
        Poll::Pending
    })
    .await
}
