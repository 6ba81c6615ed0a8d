//! Load: connections that each ask, wait for the answer, and ask again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Head, Result};

/// Stands in a request for a number that no other request of the process has.
pub const COUNTER: &str = "0000000000000000";

/// The next number.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A number that this process has not given yet.
pub fn next_number() -> u64 {
    COUNT.fetch_add(1, Ordering::Relaxed)
}

/// Writes a number where [`COUNTER`] stood when `place` was looked up.
pub fn count_up(request: &mut [u8], place: Option<usize>, number: u64) {
    let number = format!("{number:016x}");
    let digits = place.and_then(|place| request.get_mut(place..place + COUNTER.len()));
    if let Some(digits) = digits {
        digits.copy_from_slice(number.as_bytes());
    }
}

/// Where [`COUNTER`] stands in a request.
pub fn counter_place(request: &[u8]) -> Option<usize> {
    request.windows(COUNTER.len()).position(|window| window == COUNTER.as_bytes())
}

/// What one turn of load gave.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// How many answers came in a second.
    pub per_second: f64,
    /// The time that half of the answers took at most, in milliseconds.
    pub p50_ms: f64,
    /// The time that 99 of 100 answers took at most, in milliseconds.
    pub p99_ms: f64,
}

impl Sample {
    /// What so many latencies in microseconds, gathered within `took`, say.
    pub fn new(mut latencies_us: Vec<u32>, took: Duration) -> Sample {
        latencies_us.sort_unstable();
        let count = latencies_us.len();
        let at = |part: f64| {
            let place = (count as f64 * part) as usize;
            latencies_us
                .get(place.min(count.saturating_sub(1)))
                .copied()
                .map_or(0.0, |us| f64::from(us) / 1e3)
        };
        Sample { per_second: count as f64 / took.as_secs_f64(), p50_ms: at(0.5), p99_ms: at(0.99) }
    }
}

/// One answer.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// When it was asked for.
    pub asked: Instant,
    /// How long it took, in microseconds.
    pub us: u32,
}

/// A load: which requests, over how many connections.
#[derive(Debug, Clone)]
pub struct Load {
    /// Whom to ask; connections are spread over them in turn.
    pub addresses: Vec<SocketAddr>,
    /// The bytes of the request. What stands as [`COUNTER`] in it is counted up: a model's backend may treat equal requests
    /// apart.
    pub request: Vec<u8>,
    /// How many connections ask at the same time.
    pub connections: usize,
    /// How long a connection rests after each answer.
    pub pace: Duration,
}

impl Load {
    /// Asks for so long, in one thread, and says what came of it. Connecting does not count.
    ///
    /// # Errors
    /// When any answer has another status than 200, or a connection breaks.
    pub fn run(&self, duration: Duration) -> Result<Sample> {
        let (waits, took) = self.block_on(|| {
            let end = Instant::now() + duration;
            move |asked| asked < end
        })?;
        Ok(Sample::new(waits.iter().map(|wait| wait.us).collect(), took))
    }

    /// Asks over the same connections until told to end, in one thread; gives how long each answer took, and when it was
    /// asked for.
    ///
    /// # Errors
    /// See [`Load::run`].
    pub fn waits_until(&self, ended: Arc<AtomicBool>) -> Result<Vec<Wait>> {
        Ok(self.block_on(|| move |_| !ended.load(Ordering::Relaxed))?.0)
    }

    fn block_on<G>(&self, begin: impl FnOnce() -> G) -> Result<(Vec<Wait>, Duration)>
    where
        G: Fn(Instant) -> bool + Clone + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.run_here(begin))
    }

    /// `begin` is called once all are connected; what it gives says whether to ask once more.
    async fn run_here<G>(&self, begin: impl FnOnce() -> G) -> Result<(Vec<Wait>, Duration)>
    where
        G: Fn(Instant) -> bool + Clone + Send + 'static,
    {
        let mut streams = Vec::new();
        for address in self.addresses.iter().cycle().take(self.connections) {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let (started, goes_on) = (Instant::now(), begin());
        let mut tasks = tokio::task::JoinSet::new();
        let apart = self.pace / u32::try_from(streams.len()).unwrap_or(u32::MAX).max(1);
        for (stream, place) in streams.into_iter().zip(0..) {
            // Those who rest do not ask in step.
            let rests = [apart * place, self.pace];
            tasks.spawn(ask_while(stream, self.request.clone(), rests, goes_on.clone()));
        }
        let mut waits = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            waits.append(&mut ended??);
        }
        Ok((waits, started.elapsed()))
    }
}

/// `rests`: before the first request, and before each other.
async fn ask_while(
    mut stream: TcpStream,
    mut request: Vec<u8>,
    rests: [Duration; 2],
    goes_on: impl Fn(Instant) -> bool,
) -> std::result::Result<Vec<Wait>, String> {
    let mut waits = Vec::new();
    let mut received = Vec::with_capacity(4096);
    let place = counter_place(&request);
    let [first, pace] = rests;
    if !first.is_zero() {
        tokio::time::sleep(first).await;
    }
    let mut asked = Instant::now();
    while goes_on(asked) {
        count_up(&mut request, place, next_number());
        let answer = exchange(&mut stream, &request, &mut received).await;
        let status = answer.map_err(|error| error.to_string())?.status;
        let answered = Instant::now();
        if status != 200 {
            return Err(format!("status {status}: {}", String::from_utf8_lossy(&received)));
        }
        waits.push(Wait { asked, us: u32::try_from((answered - asked).as_micros()).unwrap_or(u32::MAX) });
        asked = answered;
        if !pace.is_zero() {
            tokio::time::sleep(pace).await;
            asked = Instant::now();
        }
    }
    Ok(waits)
}

/// One exchange. Gives the answer's head, and leaves the answer in `received`.
///
/// # Errors
/// When the connection breaks, or what comes is no answer.
pub async fn exchange(stream: &mut TcpStream, request: &[u8], received: &mut Vec<u8>) -> Result<Head> {
    received.clear();
    stream.write_all(request).await?;
    loop {
        if stream.read_buf(received).await? == 0 {
            return Err("the connection ended before the answer".into());
        }
        if let Some(head) = Head::read(received)?
            && received.len() >= head.whole_bytes()
        {
            return Ok(head);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_tells_rate_and_percentiles() {
        let sample = Sample::new((1..=1000).rev().collect(), Duration::from_secs(2));
        assert_eq!((sample.per_second, sample.p50_ms, sample.p99_ms), (500.0, 0.501, 0.991));
        assert_eq!(Sample::new(Vec::new(), Duration::from_secs(1)).p99_ms, 0.0);
    }
}
