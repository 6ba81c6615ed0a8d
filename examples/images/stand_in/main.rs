//! Stands in for Clipper's own containers where tests have no images of theirs: `query`, `management` and `exporter`, with
//! Clipper's flags; and a `model` that fails as it is told. The two frontends are Boat's engine; as in Clipper they are processes of their own that know of each other
//! only what stands in Redis. How it stands there is not Clipper's: a list of the changes that were made, in order.

mod exporter;
mod http;
mod management;
mod model;
mod query;
mod redis;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why a stand-in ended; only its text is used.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(name = "clipper-stand-in")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// The query frontend.
    Query(FrontendFlags),
    /// The management frontend.
    Management(FrontendFlags),
    /// The exporter of the query frontend's metrics.
    Exporter {
        /// Where the query frontend is, as HOST:PORT.
        #[arg(long = "query_frontend_name")]
        query_frontend_name: String,
    },
    /// A model container that crashes, hangs or answers too little, as its inputs say.
    Model(model::ModelFlags),
}

/// Clipper's flags. What the engine has no use for is taken and left alone.
#[derive(Debug, clap::Args)]
struct FrontendFlags {
    #[arg(long = "redis_ip", default_value = "localhost")]
    redis_ip: String,
    #[arg(long = "redis_port", default_value_t = 6379)]
    redis_port: u16,
    #[arg(long = "rpc_service_port", default_value_t = 7000)]
    rpc_service_port: u16,
    #[arg(long = "prediction_cache_size")]
    prediction_cache_size: Option<u64>,
    #[arg(long = "thread_pool_size")]
    thread_pool_size: Option<u64>,
    #[arg(long = "timeout_request")]
    timeout_request: Option<u64>,
    #[arg(long = "timeout_content")]
    timeout_content: Option<u64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    examples::start_logging();
    let arguments = examples::or_exit(Arguments::try_parse());
    let ended = match arguments.role {
        Role::Query(flags) => query::run(flags).await,
        Role::Management(flags) => management::run(flags).await,
        Role::Exporter { query_frontend_name } => exporter::run(query_frontend_name).await,
        Role::Model(flags) => model::run(flags).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
