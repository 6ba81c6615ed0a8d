//! The queue of one version of a model: queries in order of arrival, taken from by the replicas that serve it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Input;

/// How many queries may wait for one model. Past it they get the default at once: as if their time had run out.
const QUERIES_WAITING_MAX: usize = 1_024;
/// How many inputs a container gets at once, at most, whatever its model's `batch_size` says.
const BATCH_INPUTS_MAX: usize = 1_024;
/// How many where `batch_size` is -1: the frontend's choice.
const BATCH_INPUTS_DEFAULT: usize = 64;
/// How many bytes of inputs a container gets at once, but one input in any case.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// What became of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Slot {
    /// Nothing yet.
    Waiting,
    /// The model's output.
    Output(String),
    /// There will be none.
    Failed,
}

/// What was asked at once.
#[derive(Debug)]
pub(super) struct Query {
    inputs: Vec<Input>,
    deadline: Instant,
    /// Nobody waits for it any more.
    is_abandoned: AtomicBool,
    slots: Mutex<Slots>,
    done: Notify,
}

#[derive(Debug)]
struct Slots {
    slots: Vec<Slot>,
    waiting: usize,
}

/// Who waits for a query. Dropping it abandons the query: what has not begun to run never will.
#[derive(Debug)]
pub(super) struct Ticket(Arc<Query>);

/// A part of one query.
type Part = (Arc<Query>, Range<usize>);

/// Inputs that were taken off the queue, to be run once. Those without an output when it is dropped have failed.
#[derive(Debug)]
pub(super) struct Batch {
    parts: Vec<Part>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// The model's `batch_size`; 0 where nothing is said.
    batch_inputs: AtomicUsize,
    /// For replicas that are tasks.
    pushed: Notify,
    /// For replicas that are threads.
    pushed_blocking: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Part>,
    replicas: usize,
    is_closed: bool,
}

/// Why a query is not in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotQueued {
    /// No replica serves the model.
    NoReplica,
    /// Too many wait already.
    Full,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole after each statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Query {
    fn settle(&self, at: usize, slot: Slot) {
        let mut slots = lock(&self.slots);
        if let Some(place) = slots.slots.get_mut(at).filter(|place| **place == Slot::Waiting) {
            *place = slot;
            slots.waiting -= 1;
            if slots.waiting == 0 {
                self.done.notify_one();
            }
        }
    }

    fn is_wanted(&self, now: Instant) -> bool {
        !self.is_abandoned.load(Ordering::Relaxed) && now < self.deadline
    }
}

impl Ticket {
    /// One output for each input, in order; none where the model gave none before the deadline.
    pub(super) async fn outputs(self) -> Vec<Option<String>> {
        // Late is an answer here: what is there by then counts.
        let _ = tokio::time::timeout_at(self.0.deadline, self.0.done.notified()).await;
        let slots = std::mem::take(&mut lock(&self.0.slots).slots);
        let output = |slot| match slot {
            Slot::Output(output) => Some(output),
            Slot::Waiting | Slot::Failed => None,
        };
        slots.into_iter().map(output).collect()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.is_abandoned.store(true, Ordering::Relaxed);
    }
}

impl Batch {
    /// The inputs, part by part.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[Input]> {
        self.parts.iter().map(|(query, range)| query.inputs.get(range.clone()).unwrap_or_default())
    }

    /// How many inputs there are.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|(_, range)| range.len()).sum()
    }

    /// Hands out the outputs: one for each input, in order. Fewer, and the last inputs have failed; what is too much is dropped.
    pub(super) fn complete(self, outputs: impl IntoIterator<Item = String>) {
        let places = self.parts.iter().flat_map(|(query, range)| range.clone().map(move |at| (query, at)));
        for ((query, at), output) in places.zip(outputs) {
            query.settle(at, Slot::Output(output));
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for (query, range) in &self.parts {
            range.clone().for_each(|at| query.settle(at, Slot::Failed));
        }
    }
}

impl Queue {
    /// Takes the model's `batch_size` over.
    pub(super) fn set_batch_size(&self, batch_size: i32) {
        let inputs = usize::try_from(batch_size).unwrap_or(BATCH_INPUTS_DEFAULT);
        self.batch_inputs.store(inputs, Ordering::Relaxed);
    }

    /// Puts a query in line, behind all that came before.
    pub(super) fn push(&self, inputs: Vec<Input>, deadline: Instant) -> Result<Ticket, NotQueued> {
        let mut inner = lock(&self.inner);
        if inner.replicas == 0 {
            return Err(NotQueued::NoReplica);
        }
        if inner.waiting.len() >= QUERIES_WAITING_MAX {
            let now = Instant::now();
            inner.waiting.retain(|(query, _)| query.is_wanted(now));
            if inner.waiting.len() >= QUERIES_WAITING_MAX {
                return Err(NotQueued::Full);
            }
        }
        let count = inputs.len();
        let slots = Mutex::new(Slots { slots: vec![Slot::Waiting; count], waiting: count });
        let (is_abandoned, done) = (AtomicBool::new(false), Notify::new());
        let query = Arc::new(Query { inputs, deadline, is_abandoned, slots, done });
        inner.waiting.push_back((Arc::clone(&query), 0..count));
        drop(inner);
        self.pushed.notify_one();
        self.pushed_blocking.notify_one();
        Ok(Ticket(query))
    }

    /// The next batch for a container; nothing once the queue is closed.
    pub(super) async fn take(&self) -> Option<Batch> {
        // Each turn waits for a push, and ends unless another replica was quicker.
        loop {
            let pushed = self.pushed.notified();
            {
                let mut inner = lock(&self.inner);
                if inner.is_closed {
                    return None;
                }
                let inputs_max = match self.batch_inputs.load(Ordering::Relaxed) {
                    0 => BATCH_INPUTS_DEFAULT,
                    said => said.min(BATCH_INPUTS_MAX),
                };
                if let Some(batch) = inner.next(inputs_max, BATCH_BYTES_MAX) {
                    if !inner.waiting.is_empty() {
                        self.pushed.notify_one();
                    }
                    return Some(batch);
                }
            }
            pushed.await;
        }
    }

    /// The next query for a model in this process, as a batch; nothing once the queue is closed.
    pub(super) fn take_blocking(&self) -> Option<Batch> {
        let mut inner = lock(&self.inner);
        loop {
            if inner.is_closed {
                return None;
            }
            if let Some(batch) = inner.next_query() {
                return Some(batch);
            }
            inner = self.pushed_blocking.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Counts a replica that serves.
    pub(super) fn join(&self) {
        lock(&self.inner).replicas += 1;
    }

    /// A replica is gone. With the last one all that waits has failed.
    pub(super) fn leave(&self) {
        let mut inner = lock(&self.inner);
        inner.replicas = inner.replicas.saturating_sub(1);
        if inner.replicas == 0 {
            drop(Batch { parts: inner.waiting.drain(..).collect() });
        }
    }

    /// Ends the queue: what waits has failed, and no replica gets anything any more.
    pub(super) fn close(&self) {
        let mut inner = lock(&self.inner);
        inner.is_closed = true;
        drop(Batch { parts: inner.waiting.drain(..).collect() });
        drop(inner);
        self.pushed.notify_waiters();
        // One that was about to wait.
        self.pushed.notify_one();
        self.pushed_blocking.notify_all();
    }
}

impl Inner {
    /// What is left of the first query that somebody still waits for. The others on the way there are dropped unexecuted, as
    /// Clipper does.
    fn next_query(&mut self) -> Option<Batch> {
        let now = Instant::now();
        while let Some((query, range)) = self.waiting.pop_front() {
            let batch = Batch { parts: vec![(query, range)] };
            if batch.parts.iter().all(|(query, _)| query.is_wanted(now)) {
                return Some(batch);
            }
        }
        None
    }

    /// The first inputs, of several queries if need be, within these limits but one in any case.
    fn next(&mut self, inputs_max: usize, bytes_max: usize) -> Option<Batch> {
        let mut batch = Batch { parts: Vec::new() };
        let (mut inputs, mut bytes) = (0, 0);
        while inputs < inputs_max {
            let Some(mut next) = self.next_query() else { break };
            let Some((query, range)) = next.parts.pop() else { break };
            let rest = query.inputs.get(range.clone()).unwrap_or_default();
            let mut count = 0;
            for input in rest {
                bytes += input.to_bytes().len();
                if inputs == inputs_max || (bytes > bytes_max && inputs > 0) {
                    break;
                }
                inputs += 1;
                count += 1;
            }
            let split = range.start + count;
            if split < range.end {
                self.waiting.push_front((Arc::clone(&query), split..range.end));
            }
            if count > 0 {
                batch.parts.push((query, range.start..split));
            }
            if split < range.end {
                break;
            }
        }
        (!batch.parts.is_empty()).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn inputs(texts: &[&str]) -> Vec<Input> {
        texts.iter().map(|&text| Input::String(text.to_owned())).collect()
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn queue(batch_size: i32) -> Queue {
        let queue = Queue::default();
        queue.set_batch_size(batch_size);
        queue.join();
        queue
    }

    fn texts(batch: &Batch) -> Vec<String> {
        batch.parts().flatten().map(Input::to_string).collect()
    }

    fn answer(batch: Batch) {
        let outputs: Vec<String> = texts(&batch).iter().map(|text| format!("{text}!")).collect();
        batch.complete(outputs);
    }

    fn some(outputs: &[&str]) -> Vec<Option<String>> {
        outputs.iter().map(|&output| Some(output.to_owned())).collect()
    }

    #[tokio::test]
    async fn batches_take_inputs_of_several_queries_in_order_and_once() {
        let queue = queue(4);
        let first = queue.push(inputs(&["a", "b", "a"]), later()).unwrap();
        let second = queue.push(inputs(&["c", "d", "e"]), later()).unwrap();
        let batch = queue.take().await.unwrap();
        assert_eq!((texts(&batch), batch.len()), (vec!["a".into(), "b".into(), "a".into(), "c".into()], 4));
        answer(batch);
        assert_eq!(first.outputs().await, some(&["a!", "b!", "a!"]));
        let batch = queue.take().await.unwrap();
        assert_eq!(texts(&batch), ["d", "e"]);
        answer(batch);
        assert_eq!(second.outputs().await, some(&["c!", "d!", "e!"]));
    }

    #[tokio::test]
    async fn a_batch_that_is_dropped_or_too_short_has_failed_in_part() {
        let queue = queue(2);
        let ticket = queue.push(inputs(&["a", "b", "c", "d"]), later()).unwrap();
        queue.take().await.unwrap().complete(["1".to_owned()]);
        drop(queue.take().await.unwrap());
        assert_eq!(ticket.outputs().await, [Some("1".to_owned()), None, None, None]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_late_or_abandoned_is_never_run() {
        let queue = queue(-1);
        let late = queue.push(inputs(&["late"]), Instant::now() + Duration::from_millis(5)).unwrap();
        assert_eq!(late.outputs().await, [None]);
        drop(queue.push(inputs(&["abandoned"]), later()).unwrap());
        let _wanted = queue.push(inputs(&["wanted"]), later()).unwrap();
        assert_eq!(texts(&queue.take().await.unwrap()), ["wanted"]);
    }

    #[tokio::test]
    async fn with_the_last_replica_all_that_waits_fails() {
        let queue = queue(-1);
        queue.join();
        let ticket = queue.push(inputs(&["a"]), later()).unwrap();
        queue.leave();
        assert!(queue.push(inputs(&["b"]), later()).is_ok());
        queue.leave();
        assert_eq!(ticket.outputs().await, [None]);
        assert_eq!(queue.push(inputs(&["a"]), later()).unwrap_err(), NotQueued::NoReplica);
    }

    #[tokio::test]
    async fn full_is_an_answer_and_what_nobody_wants_makes_room() {
        let queue = queue(-1);
        let mut tickets: Vec<Ticket> =
            (0..QUERIES_WAITING_MAX).map(|_| queue.push(inputs(&["a"]), later()).unwrap()).collect();
        assert_eq!(queue.push(inputs(&["a"]), later()).unwrap_err(), NotQueued::Full);
        tickets.pop();
        assert!(queue.push(inputs(&["a"]), later()).is_ok());
    }

    #[tokio::test]
    async fn a_closed_queue_gives_nothing_to_tasks_and_threads() {
        let queue = Arc::new(queue(-1));
        let thread = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.take_blocking().is_none()
        });
        let task = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.take().await.is_none() }
        });
        tokio::task::yield_now().await;
        queue.close();
        assert!(task.await.unwrap());
        assert!(thread.join().unwrap());
    }

    #[test]
    fn a_long_input_goes_alone() {
        let queue = queue(-1);
        let _ticket = queue.push(inputs(&["aaaa", "b", "c"]), later()).unwrap();
        let mut inner = lock(&queue.inner);
        assert_eq!(texts(&inner.next(8, 2).unwrap()), ["aaaa"]);
        assert_eq!(texts(&inner.next(8, 2).unwrap()), ["b", "c"]);
        assert!(inner.next(8, 2).is_none());
    }
}
