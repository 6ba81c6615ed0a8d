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
pub(super) struct Mailboxes(Vec<Addressee>);

/// A runtime, its mailbox, and the answers of a batch that go there: empty between batches, and kept for its room.
#[derive(Debug)]
struct Addressee {
    runtime: Id,
    mailbox: Arc<Mailbox>,
    outgoing: Vec<Letter>,
}

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
    /// The mailbox of the runtime that this is called in. Makes one, with the task that empties it, where there is none;
    /// `is_new` hears of that.
    pub(super) fn here(&mut self, is_new: impl FnOnce(&Handle)) -> Place {
        let runtime = Handle::try_current().ok()?;
        let id = runtime.id();
        if let Some(place) = self.0.iter().position(|known| known.runtime == id) {
            return Some(place);
        }
        if self.0.len() >= MAILBOXES_MAX {
            return None;
        }
        let mailbox = Arc::<Mailbox>::default();
        runtime.spawn(Emptying(mailbox.clone()).run());
        is_new(&runtime);
        self.0.push(Addressee { runtime: id, mailbox, outgoing: Vec::new() });
        Some(self.0.len() - 1)
    }

    /// Sends the answers of a batch, as `write` adds them.
    pub(super) fn send(&mut self, write: impl FnOnce(&mut Outgoing<'_>)) {
        write(&mut Outgoing(self));
        for Addressee { mailbox, outgoing, .. } in &mut self.0 {
            if outgoing.len() > DIRECT_MAX {
                mailbox.put(outgoing);
            }
            outgoing.drain(..).for_each(deliver);
        }
    }

    /// Ends the tasks, once they have delivered everything.
    pub(super) fn close(&mut self) {
        for Addressee { mailbox, .. } in self.0.drain(..) {
            mailbox.lock().closed = true;
            mailbox.arrived.notify_one();
        }
    }
}

/// The answers of a batch.
pub(super) struct Outgoing<'a>(&'a mut Mailboxes);

impl Outgoing<'_> {
    pub(super) fn add(&mut self, place: Place, letter: Letter) {
        match place.and_then(|place| self.0.0.get_mut(place)) {
            Some(addressee) => addressee.outgoing.push(letter),
            None => deliver(letter),
        }
    }
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Letters> {
        // Letters are put in and taken out whole.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all letters, unless nobody empties this any more.
    fn put(&self, letters: &mut Vec<Letter>) {
        let mut there = self.lock();
        if there.closed {
            return;
        }
        if there.waiting.is_empty() {
            // Three lists go around: this one has been emptied, and has room.
            std::mem::swap(&mut there.waiting, letters);
        } else {
            there.waiting.append(letters);
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

    fn send(mailboxes: &mut Mailboxes, letters: Vec<(Place, Letter)>) {
        mailboxes
            .send(|outgoing| letters.into_iter().for_each(|(place, letter)| outgoing.add(place, letter)));
    }

    fn letters(place: Place, count: usize) -> (Vec<(Place, Letter)>, Vec<oneshot::Receiver<Reply>>) {
        let pairs = (0..count).map(|_| oneshot::channel());
        pairs.map(|(sender, receiver)| ((place, (sender, Reply::Stopped)), receiver)).unzip()
    }

    #[tokio::test]
    async fn few_and_many_answers_arrive() {
        let mut mailboxes = Mailboxes::default();
        for count in [1, DIRECT_MAX, DIRECT_MAX + 1, 100] {
            let place = mailboxes.here(|_| ());
            assert_eq!(place, Some(0));
            let (letters, receivers) = letters(place, count);
            send(&mut mailboxes, letters);
            for receiver in receivers {
                assert!(matches!(receiver.await, Ok(Reply::Stopped)));
            }
        }
    }

    #[test]
    fn what_a_runtime_leaves_behind_is_delivered() {
        let mut mailboxes = Mailboxes::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let place = runtime.block_on(async { mailboxes.here(|_| ()) });
        let (before, mut receivers) = letters(place, 10);
        send(&mut mailboxes, before);
        drop(runtime);
        let (after, more) = letters(place, 10);
        send(&mut mailboxes, after);
        receivers.extend(more);
        for mut receiver in receivers {
            assert!(matches!(receiver.try_recv(), Ok(Reply::Stopped)));
        }
        assert_eq!(mailboxes.here(|_| ()), None, "outside of any runtime");
    }

    #[tokio::test]
    async fn a_closed_mailbox_delivers_what_it_holds() {
        let mut mailboxes = Mailboxes::default();
        let (letters, receivers) = letters(mailboxes.here(|_| ()), 10);
        send(&mut mailboxes, letters);
        mailboxes.close();
        for receiver in receivers {
            assert!(matches!(receiver.await, Ok(Reply::Stopped)));
        }
    }
}
