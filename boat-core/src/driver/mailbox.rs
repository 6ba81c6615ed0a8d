//! Answers on their way to those who wait for them. Waking a task from another thread costs a system call, so the answers of a
//! batch go to a runtime together: they wake one task there, which wakes the others where they run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::{Handle, Id};
use tokio::sync::{Notify, oneshot};

use super::waiters::Reply;

/// How many runtimes have a mailbox, at most. Who waits in another one is woken directly.
const MAILBOXES_MAX: usize = 16;
/// So many answers at once are not worth a task between them and those who wait.
const DIRECT_MAX: usize = 2;

/// An answer and who waits for it.
type Letter = (oneshot::Sender<Reply>, Reply);

/// A place in [`Mailboxes`]; `None` for who is woken directly.
pub(super) type Place = Option<usize>;

/// One mailbox for each runtime from which somebody waits.
#[derive(Debug, Default)]
pub(super) struct Mailboxes(Vec<(Id, Arc<Mailbox>)>);

#[derive(Debug, Default)]
struct Mailbox {
    letters: Mutex<Letters>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Letters {
    waiting: Vec<Letter>,
    /// Nobody empties this mailbox any more.
    closed: bool,
}

impl Mailboxes {
    /// The mailbox of the runtime that this is called in. Makes one, with the task that empties it, where there is none.
    pub(super) fn here(&mut self) -> Place {
        let runtime = Handle::try_current().ok()?;
        let id = runtime.id();
        if let Some(place) = self.0.iter().position(|(known, _)| *known == id) {
            return Some(place);
        }
        if self.0.len() >= MAILBOXES_MAX {
            return None;
        }
        let mailbox = Arc::<Mailbox>::default();
        runtime.spawn(Emptying(mailbox.clone()).run());
        self.0.push((id, mailbox));
        Some(self.0.len() - 1)
    }

    /// Sends the answers of a batch, of which there are so many at most.
    pub(super) fn send(&self, letters: impl Iterator<Item = (Place, Letter)>, letters_max: usize) {
        let mut sorted: Vec<Vec<Letter>> = self.0.iter().map(|_| Vec::new()).collect();
        for (place, letter) in letters {
            match place.and_then(|place| sorted.get_mut(place)) {
                Some(together) => {
                    if together.is_empty() {
                        together.reserve(letters_max);
                    }
                    together.push(letter);
                }
                None => deliver(letter),
            }
        }
        for ((_, mailbox), letters) in self.0.iter().zip(sorted) {
            if letters.len() <= DIRECT_MAX {
                letters.into_iter().for_each(deliver);
            } else {
                mailbox.put(letters);
            }
        }
    }

    /// Ends the tasks, once they have delivered everything.
    pub(super) fn close(&mut self) {
        for (_, mailbox) in self.0.drain(..) {
            mailbox.lock().closed = true;
            mailbox.arrived.notify_one();
        }
    }
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Letters> {
        // Letters are put in and taken out whole.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, mut letters: Vec<Letter>) {
        let mut there = self.lock();
        if there.closed {
            drop(there);
            letters.into_iter().for_each(deliver);
            return;
        }
        if there.waiting.is_empty() {
            there.waiting = letters;
        } else {
            there.waiting.append(&mut letters);
        }
        drop(there);
        self.arrived.notify_one();
    }
}

fn deliver((waiting, reply): Letter) {
    // Who went away needs no answer.
    let _ = waiting.send(reply);
}

/// The task that empties a mailbox. When its runtime ends, it delivers what is left and lets nothing more come in.
struct Emptying(Arc<Mailbox>);

impl Emptying {
    async fn run(self) {
        let mut letters = Vec::new();
        loop {
            let closed = {
                let mut there = self.0.lock();
                std::mem::swap(&mut there.waiting, &mut letters);
                there.closed
            };
            letters.drain(..).for_each(deliver);
            if closed {
                return;
            }
            self.0.arrived.notified().await;
        }
    }
}

impl Drop for Emptying {
    fn drop(&mut self) {
        let mut there = self.0.lock();
        there.closed = true;
        let letters = std::mem::take(&mut there.waiting);
        drop(there);
        letters.into_iter().for_each(deliver);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(place: Place, count: usize) -> (Vec<(Place, Letter)>, Vec<oneshot::Receiver<Reply>>) {
        let pairs = (0..count).map(|_| oneshot::channel());
        pairs.map(|(sender, receiver)| ((place, (sender, Reply::Stopped)), receiver)).unzip()
    }

    #[tokio::test]
    async fn few_and_many_answers_arrive() {
        let mut mailboxes = Mailboxes::default();
        for count in [1, DIRECT_MAX, DIRECT_MAX + 1, 100] {
            let place = mailboxes.here();
            assert_eq!(place, Some(0));
            let (letters, receivers) = letters(place, count);
            mailboxes.send(letters.into_iter(), 0);
            for receiver in receivers {
                assert!(matches!(receiver.await, Ok(Reply::Stopped)));
            }
        }
    }

    #[test]
    fn what_a_runtime_leaves_behind_is_delivered() {
        let mut mailboxes = Mailboxes::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let place = runtime.block_on(async { mailboxes.here() });
        let (before, mut receivers) = letters(place, 10);
        mailboxes.send(before.into_iter(), 0);
        drop(runtime);
        let (after, more) = letters(place, 10);
        mailboxes.send(after.into_iter(), 0);
        receivers.extend(more);
        for mut receiver in receivers {
            assert!(matches!(receiver.try_recv(), Ok(Reply::Stopped)));
        }
        assert_eq!(mailboxes.here(), None, "outside of any runtime");
    }

    #[tokio::test]
    async fn a_closed_mailbox_delivers_what_it_holds() {
        let mut mailboxes = Mailboxes::default();
        let (letters, receivers) = letters(mailboxes.here(), 10);
        mailboxes.send(letters.into_iter(), 0);
        mailboxes.close();
        for receiver in receivers {
            assert!(matches!(receiver.await, Ok(Reply::Stopped)));
        }
    }
}
