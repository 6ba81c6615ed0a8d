//! The signals that ask a process to end.

use std::fmt;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that asks a process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT: ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopSignal::Interrupt => "ctrl-C",
            StopSignal::Terminate => "SIGTERM",
        })
    }
}

/// Ctrl-C and SIGTERM, as a child or any other program sees them. SIGHUP keeps its meaning: closing the terminal kills,
/// and `nohup` prevents that.
///
/// ```
/// use boat_core::supervisor::{StopSignal, StopSignals};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let mut signals = StopSignals::listen()?;
/// rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)?;
/// assert_eq!(signals.next().await, StopSignal::Terminate);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Debug)]
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Listens from now on. The process is no longer ended by these signals, even after this value is dropped.
    ///
    /// # Errors
    /// If the operating system refuses the handlers.
    ///
    /// # Panics
    /// Outside a tokio runtime with its IO driver on.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one since [`listen`](Self::listen), or since the last. Cancel-safe.
    pub async fn next(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            _ = self.terminate.recv() => StopSignal::Terminate,
        }
    }
}
