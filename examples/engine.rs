//! A Clipper-compatible server as a process of its own: query frontend, management frontend, and model containers over
//! ZeroMQ, on Clipper's ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use boat_clipper::{Engine, EngineConfig};
use boat_core::supervisor::{StopSignals, watch_parent};
use clap::Parser;
use examples::{or_exit, start_logging};

/// Serves Clipper's HTTP and model-container protocols.
#[derive(Debug, Parser)]
#[command(name = "engine")]
struct Arguments {
    /// Where all three listen
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// The query frontend's port
    #[arg(long, default_value_t = 1337)]
    query_port: u16,
    /// The management frontend's port
    #[arg(long, default_value_t = 1338)]
    management_port: u16,
    /// Where model containers connect
    #[arg(long, visible_alias = "rpc_service_port", default_value_t = 7000)]
    rpc_port: u16,
    /// Begin with the application `default` and `echo-model` version 1 behind it, in this process
    #[arg(long)]
    echo: bool,
    /// Models keep state: one container each, which must come fresh, and none that comes back with its old memory
    #[arg(long)]
    keeps_state: bool,
    /// How long a connection may be idle, in seconds
    #[arg(long, visible_alias = "timeout_request", default_value_t = 5)]
    idle_seconds: u64,
    /// How long a request's body may take, in seconds
    #[arg(long, visible_alias = "timeout_content", default_value_t = 300)]
    body_seconds: u64,
    /// End with the process that started this one; its end of standard input tells
    #[arg(long)]
    supervised: bool,
    /// Flags of Clipper's frontends that mean nothing here
    #[command(flatten)]
    ignored: Ignored,
}

/// Taken, so that what starts a Clipper can start this.
#[derive(Debug, clap::Args)]
struct Ignored {
    #[arg(long = "redis_ip", hide = true)]
    _redis_ip: Option<String>,
    #[arg(long = "redis_port", hide = true)]
    _redis_port: Option<String>,
    #[arg(long = "prediction_cache_size", hide = true)]
    _prediction_cache_size: Option<String>,
    #[arg(long = "thread_pool_size", hide = true)]
    _thread_pool_size: Option<String>,
}

impl Arguments {
    fn config(&self) -> EngineConfig {
        let at = |port| Some(SocketAddr::new(self.address, port));
        let config = if self.echo { EngineConfig::default() } else { EngineConfig::empty() };
        EngineConfig {
            management_address: at(self.management_port),
            rpc_address: at(self.rpc_port),
            keeps_state: self.keeps_state,
            header_timeout_ms: self.idle_seconds.saturating_mul(1_000),
            body_timeout_ms: self.body_seconds.saturating_mul(1_000),
            ..config
        }
    }

    async fn run(self) -> Result<(), String> {
        if self.supervised {
            watch_parent().map_err(|error| format!("--supervised: {error}"))?;
        }
        let mut signals = StopSignals::listen().map_err(|error| format!("no signals: {error}"))?;
        let query = SocketAddr::new(self.address, self.query_port);
        let engine = Engine::start(query, self.config()).await.map_err(|error| error.to_string())?;
        let shown =
            |address: Option<SocketAddr>| address.map_or_else(String::new, |address| address.to_string());
        let (management, rpc) = (shown(engine.management_address()), shown(engine.rpc_address()));
        log::info!(
            "engine: queries on http://{}, management on http://{management}, containers on {rpc}",
            engine.address()
        );
        let signal = signals.next().await;
        log::info!("engine: {signal}, stopping");
        engine.shutdown().await;
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    start_logging();
    match or_exit(Arguments::try_parse()).run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
