//! Three engines that are asked directly.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::time::{Duration, Instant};

use benches::{
    NODES, Ports, Process, Result, Sample, count_up, counter_place, exchange, next_number, request, wait_for,
};
use boat_clipper::{Engine, EngineConfig, ModelKind};
use boat_core::supervisor::watch_parent;
use tokio::net::TcpStream;

use crate::{BODY, FIELDS};

/// The first argument of an engine's process; the second is its address.
const ENGINE: &str = "--engine";

/// Running engines.
pub(crate) struct Engines {
    ports: Ports,
    _processes: Vec<Process>,
}

impl Engines {
    pub(crate) fn start() -> Result<Engines> {
        let ports = Ports::reserve()?;
        let mut processes = Vec::new();
        for place in 0..NODES {
            let address = ports.address(place)?;
            processes.push(Process::start_self(&[OsString::from(ENGINE), address.to_string().into()])?);
            wait_for("an engine listens", || Ok(StdStream::connect(address).ok()))?;
        }
        Ok(Engines { ports, _processes: processes })
    }

    /// Lets so many clients ask all engines the same at the same time, over and over.
    pub(crate) fn load(&self, clients: usize, duration: Duration) -> Result<Sample> {
        let addresses = (0..NODES).map(|place| self.ports.address(place)).collect::<Result<Vec<_>>>()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let end = Instant::now() + duration;
            let started = Instant::now();
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..clients {
                let addresses = addresses.clone();
                tasks.spawn(
                    async move { ask_until(&addresses, end).await.map_err(|error| error.to_string()) },
                );
            }
            let mut latencies_us = Vec::new();
            while let Some(ended) = tasks.join_next().await {
                latencies_us.append(&mut ended??);
            }
            Ok(Sample::new(latencies_us, started.elapsed()))
        })
    }
}

/// One client: a connection to each engine.
async fn ask_until(addresses: &[SocketAddr], end: Instant) -> std::io::Result<Vec<u32>> {
    let mut ways = Vec::new();
    for address in addresses {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        ways.push((stream, request("POST", "/default/predict", *address, FIELDS, BODY), Vec::new()));
    }
    let mut latencies_us = Vec::new();
    loop {
        let asked = Instant::now();
        if asked >= end {
            return Ok(latencies_us);
        }
        let number = next_number();
        for (_, request, _) in &mut ways {
            let place = counter_place(request);
            count_up(request, place, number);
        }
        let [(one, a, x), (two, b, y), (three, c, z)] = ways.as_mut_slice() else { return Ok(latencies_us) };
        let (first, second, third) = tokio::join!(ask(one, a, x), ask(two, b, y), ask(three, c, z));
        first.and(second).and(third)?;
        latencies_us.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}

async fn ask(stream: &mut TcpStream, request: &[u8], received: &mut Vec<u8>) -> std::io::Result<()> {
    let other = |error: &dyn std::fmt::Display| std::io::Error::other(error.to_string());
    match exchange(stream, request, received).await {
        Ok(head) if head.status == 200 => Ok(()),
        Ok(head) => Err(other(&format!("status {}", head.status))),
        Err(error) => Err(other(&error)),
    }
}

/// Runs as an engine, where this process was started to be one.
pub(crate) fn run_if_engine() -> Result<bool> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(ENGINE) {
        return Ok(false);
    }
    watch_parent()?;
    let address: SocketAddr = arguments.next().ok_or("no address")?.parse()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let _engine = Engine::start(address, EngineConfig::with_model(ModelKind::HashChain)).await?;
        std::future::pending::<()>().await;
        Ok(true)
    })
}
