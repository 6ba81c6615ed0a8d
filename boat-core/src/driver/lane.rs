//! Where the applier runs: on its own thread, or, for a predictor that declares itself quick, on the thread of whoever has just
//! brought it something. Waking a thread costs more than a quick model takes.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use tokio::runtime::Handle;

/// How often a helper runs the applier in a row before its own thread goes on.
const POLLS_MAX: u32 = 16;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One applier, to be run by one thread at a time.
pub(crate) struct Lane {
    /// `None` once it has ended.
    work: Mutex<Option<Work>>,
    /// Its timers are in this runtime, whoever runs it.
    runtime: Handle,
    /// Wakes its own thread.
    thread: Mutex<Waker>,
    /// How many are about to look whether it has something to do: nobody wakes its thread in the meantime.
    helpers: AtomicUsize,
    /// Whether it has something to do.
    is_woken: AtomicBool,
    /// Whether a helper runs it.
    is_helped: AtomicBool,
    /// Whether it waits for its own thread.
    wants_thread: AtomicBool,
}

/// Where a node's applier can be found. There is another when one was given up.
#[derive(Default)]
pub(crate) struct Lanes(Mutex<Weak<Lane>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whatever panicked while it was held is taken out of it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lanes {
    /// Opens the applier to helpers.
    pub(super) fn open(&self, lane: &Arc<Lane>) {
        *lock(&self.0) = Arc::downgrade(lane);
    }

    /// Keeps the applier's thread asleep until the guard is dropped, for whoever is going to help. `None` for an applier that
    /// takes no help.
    pub(super) fn hold(&self) -> Option<Help> {
        let lane = lock(&self.0).upgrade()?;
        lane.helpers.fetch_add(1, SeqCst);
        Some(Help(lane))
    }

    /// Waits until the applier runs on its own thread, where it may take its time.
    pub(super) async fn own_thread(&self) {
        poll_fn(|context| {
            let lane = lock(&self.0).upgrade().filter(|lane| lane.is_helped.load(SeqCst));
            let Some(lane) = lane else { return Poll::Ready(()) };
            lane.wants_thread.store(true, SeqCst);
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes").finish_non_exhaustive()
    }
}

impl Lane {
    pub(super) fn new(work: impl Future<Output = ()> + Send + 'static, runtime: Handle) -> Arc<Self> {
        Arc::new(Lane {
            // It shares its thread with nobody, and a helper's budget is not its own.
            work: Mutex::new(Some(Box::pin(tokio::task::coop::unconstrained(work)))),
            runtime,
            thread: Mutex::new(Waker::noop().clone()),
            helpers: AtomicUsize::new(0),
            is_woken: AtomicBool::new(false),
            is_helped: AtomicBool::new(false),
            wants_thread: AtomicBool::new(false),
        })
    }

    /// What its own thread runs, until the applier has ended.
    ///
    /// # Panics
    /// If the applier does.
    pub(super) async fn run(self: Arc<Self>) {
        let waker = Waker::from(self.clone());
        poll_fn(|context| {
            lock(&self.thread).clone_from(context.waker());
            let mut work = lock(&self.work);
            self.is_woken.store(false, SeqCst);
            self.wants_thread.store(false, SeqCst);
            self.poll(&mut work, &waker)
        })
        .await;
    }

    /// A work that panics is gone; so is one that has ended.
    fn poll(&self, work: &mut Option<Work>, waker: &Waker) -> Poll<()> {
        let Some(mut running) = work.take() else { return Poll::Ready(()) };
        let polled = running.as_mut().poll(&mut Context::from_waker(waker));
        if polled.is_pending() {
            *work = Some(running);
        }
        polled
    }

    /// Runs it for as long as it has something to do.
    fn help(self: &Arc<Self>) -> std::thread::Result<()> {
        let mut waker = None;
        for _ in 0..POLLS_MAX {
            if !self.is_woken.load(SeqCst) || self.wants_thread.load(SeqCst) {
                break;
            }
            let mut work = match self.work.try_lock() {
                Ok(work) => work,
                Err(TryLockError::Poisoned(work)) => work.into_inner(),
                Err(TryLockError::WouldBlock) => break,
            };
            self.is_woken.store(false, SeqCst);
            let waker = waker.get_or_insert_with(|| Waker::from(self.clone()));
            let _timers = self.runtime.enter();
            self.is_helped.store(true, SeqCst);
            let polled = catch_unwind(AssertUnwindSafe(|| self.poll(&mut work, waker)));
            self.is_helped.store(false, SeqCst);
            if polled?.is_ready() {
                // Its thread has to see that.
                self.is_woken.store(true, SeqCst);
                break;
            }
        }
        Ok(())
    }

    /// Wakes its own thread if it has something to do, whoever was about to help: they may be held up.
    pub(super) fn wake_held_back(&self) {
        if self.is_woken.load(SeqCst) {
            self.thread_waker().wake();
        }
    }

    fn wake_thread(&self) {
        if self.helpers.load(SeqCst) == 0 && self.is_woken.swap(false, SeqCst) {
            self.thread_waker().wake();
        }
    }

    /// To be woken without the lock: the thread may run at once, in the place of whoever wakes it, and takes that lock first.
    fn thread_waker(&self) -> Waker {
        lock(&self.thread).clone()
    }
}

impl Wake for Lane {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, SeqCst);
        self.wake_thread();
    }
}

/// Somebody who is going to help the applier. When this is dropped, its thread does what is left.
pub(super) struct Help(Arc<Lane>);

impl Help {
    /// Whether it is the same applier.
    pub(super) fn is_same(&self, other: &Help) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Runs the applier in the calling thread, if it has something to do and nobody else is at it.
    ///
    /// # Errors
    /// What it panicked with.
    pub(super) fn help(self) -> std::thread::Result<()> {
        let helped = self.0.help();
        if helped.is_err() {
            // Its thread ends with it.
            self.0.is_woken.store(true, SeqCst);
        }
        helped
    }
}

impl Drop for Help {
    fn drop(&mut self) {
        self.0.helpers.fetch_sub(1, SeqCst);
        self.0.wake_thread();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use tokio::sync::Notify;

    use super::*;

    /// Counts what it is brought, on whichever thread.
    #[derive(Default)]
    struct Counter {
        lanes: Lanes,
        brought: AtomicUsize,
        counted: AtomicUsize,
        /// How much of that on its own thread.
        counted_there: AtomicUsize,
        changed: Notify,
        stops: AtomicBool,
        wants_thread: AtomicBool,
    }

    impl Counter {
        async fn run(self: Arc<Self>) {
            while !self.stops.load(SeqCst) {
                let changed = self.changed.notified();
                if self.wants_thread.load(SeqCst) {
                    self.lanes.own_thread().await;
                }
                let brought = self.brought.swap(0, SeqCst);
                assert!(brought < 1_000_000, "the counter breaks");
                // Before the count that tests wait for.
                if std::thread::current().name() == Some("counter") {
                    self.counted_there.fetch_add(brought, SeqCst);
                }
                self.counted.fetch_add(brought, SeqCst);
                changed.await;
            }
        }

        fn bring(&self, count: usize) {
            self.brought.fetch_add(count, SeqCst);
            self.changed.notify_one();
        }

        fn help(&self, count: usize) -> std::thread::Result<()> {
            let help = self.lanes.hold();
            self.bring(count);
            help.map_or(Ok(()), Help::help)
        }

        /// Waits until everything is counted.
        fn await_counted(&self, count: usize) {
            while self.counted.load(SeqCst) < count {
                std::thread::yield_now();
            }
        }
    }

    fn start() -> (Arc<Counter>, std::thread::JoinHandle<std::thread::Result<()>>) {
        let counter = Arc::<Counter>::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lane = Lane::new(counter.clone().run(), runtime.handle().clone());
        counter.lanes.open(&lane);
        let (polled, was_polled) = channel();
        #[expect(clippy::disallowed_methods, reason = "the thread under test")]
        let thread = std::thread::Builder::new().name("counter".to_owned()).spawn(move || {
            let run = async {
                let mut run = Box::pin(lane.run());
                poll_fn(|context| {
                    let ended = run.as_mut().poll(context);
                    let _ = polled.send(());
                    ended
                })
                .await;
            };
            catch_unwind(AssertUnwindSafe(|| runtime.block_on(run)))
        });
        was_polled.recv().unwrap();
        (counter, thread.unwrap())
    }

    fn stop(counter: &Counter, thread: std::thread::JoinHandle<std::thread::Result<()>>) {
        counter.stops.store(true, SeqCst);
        counter.bring(0);
        thread.join().unwrap().unwrap();
    }

    #[test]
    fn a_helper_does_the_work_and_the_thread_sleeps_on() {
        let (counter, thread) = start();
        for _ in 0..100 {
            counter.help(1).unwrap();
        }
        assert_eq!(counter.counted.load(SeqCst), 100);
        assert_eq!(counter.counted_there.load(SeqCst), 0);
        stop(&counter, thread);
    }

    #[test]
    fn work_that_wants_its_own_thread_is_left_to_it() {
        let (counter, thread) = start();
        counter.wants_thread.store(true, SeqCst);
        counter.help(1).unwrap();
        counter.await_counted(1);
        assert_eq!(counter.counted_there.load(SeqCst), 1);
        stop(&counter, thread);
    }

    #[test]
    fn a_helper_that_goes_away_leaves_the_work_to_the_thread() {
        let (counter, thread) = start();
        let help = counter.lanes.hold();
        counter.bring(1);
        drop(help);
        counter.await_counted(1);
        assert_eq!(counter.counted_there.load(SeqCst), 1);
        stop(&counter, thread);
    }

    #[test]
    fn a_helper_that_is_held_up_does_not_keep_the_thread_asleep() {
        let (counter, thread) = start();
        let held_up = counter.lanes.hold().unwrap();
        counter.bring(1);
        held_up.0.wake_held_back();
        counter.await_counted(1);
        drop(held_up);
        stop(&counter, thread);
    }

    #[test]
    fn nothing_is_left_lying_among_many_helpers() {
        const EACH: usize = 20_000;
        let (counter, thread) = start();
        std::thread::scope(|scope| {
            for helps in [true, true, false] {
                let counter = &counter;
                scope.spawn(move || {
                    for n in 0..EACH {
                        if helps {
                            counter.help(1).unwrap()
                        } else {
                            counter.bring(1)
                        }
                        if n % 100 == 0 {
                            std::thread::yield_now();
                        }
                    }
                });
            }
        });
        counter.await_counted(3 * EACH);
        stop(&counter, thread);
    }

    #[test]
    fn a_panic_is_the_helpers_to_tell_and_ends_the_thread() {
        let (counter, thread) = start();
        assert!(counter.help(1_000_000).is_err());
        thread.join().unwrap().unwrap();
        assert!(counter.lanes.hold().is_none());
        // Nobody is there any more; that harms nobody.
        counter.help(1).unwrap();
        std::thread::park_timeout(Duration::ZERO);
    }
}
