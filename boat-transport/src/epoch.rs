//! The life of the current connections: it ends when the node's hello changes, and for good when the transport shuts down.

use tokio::sync::watch;

/// Ends epochs.
#[derive(Debug)]
pub(crate) struct Epochs {
    shut: watch::Sender<bool>,
}

/// Sees the end of the epoch in which it was made.
#[derive(Debug, Clone)]
pub(crate) struct Epoch {
    shut: watch::Receiver<bool>,
}

/// Why an epoch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EpochEnd {
    /// Another one has begun.
    Renewed,
    /// There will be no other.
    Shut,
}

impl Epochs {
    pub(crate) fn new() -> Self {
        Epochs { shut: watch::Sender::new(false) }
    }

    /// The current epoch.
    pub(crate) fn current(&self) -> Epoch {
        Epoch { shut: self.shut.subscribe() }
    }

    /// Ends the current epoch and begins another.
    pub(crate) fn renew(&self) {
        self.shut.send_modify(|_| ());
    }

    /// Ends the current epoch for good.
    pub(crate) fn shut(&self) {
        self.shut.send_replace(true);
    }
}

impl Epoch {
    /// Waits for this epoch's end, and goes on to the next.
    pub(crate) async fn end(&mut self) -> EpochEnd {
        if *self.shut.borrow() || self.shut.changed().await.is_err() || *self.shut.borrow() {
            EpochEnd::Shut
        } else {
            EpochEnd::Renewed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_end_is_seen_once_and_the_last_one_stays() {
        let epochs = Epochs::new();
        let mut epoch = epochs.current();
        epochs.renew();
        assert_eq!(epoch.end().await, EpochEnd::Renewed);
        epochs.shut();
        assert_eq!(epoch.end().await, EpochEnd::Shut);
        assert_eq!(epoch.end().await, EpochEnd::Shut);
        assert_eq!(epochs.current().end().await, EpochEnd::Shut);
    }
}
