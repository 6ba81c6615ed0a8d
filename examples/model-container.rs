//! A model container in Rust: connects a model to a query frontend, Clipper's or an engine's.
//!
//! Put your own model behind `EngineModel`, and give `serve_container` what makes a fresh one.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use boat_clipper::{ContainerConfig, InputType, ModelFactory, ModelKind, serve_container};
use boat_core::supervisor::watch_parent;
use clap::Parser;
use examples::{or_exit, start_logging};

/// Serves a model to a query frontend. The environment is that of Clipper's containers.
#[derive(Debug, Parser)]
#[command(name = "model-container")]
struct Arguments {
    /// Which model: echo or hash-chain
    #[arg(long, env = "BOAT_MODEL", default_value_t = ModelKind::Echo)]
    model: ModelKind,
    /// The name that it serves under
    #[arg(long, env = "CLIPPER_MODEL_NAME", default_value = "echo-model")]
    model_name: String,
    /// The version that it serves as
    #[arg(long, env = "CLIPPER_MODEL_VERSION", default_value = "1")]
    model_version: String,
    /// What it takes: bytes, integers, floats, doubles or strings
    #[arg(long, env = "CLIPPER_INPUT_TYPE", default_value_t = InputType::Strings)]
    input_type: InputType,
    /// Where the query frontend is
    #[arg(long, env = "CLIPPER_IP", default_value = "127.0.0.1")]
    host: String,
    /// Its port for containers
    #[arg(long, env = "CLIPPER_PORT", default_value_t = 7000)]
    port: u16,
    /// End when the connection breaks: the model's memory goes with it, and whoever watches this process must see that
    #[arg(long)]
    one_life: bool,
    /// End with the process that started this one; its end of standard input tells
    #[arg(long)]
    supervised: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    start_logging();
    let arguments = or_exit(Arguments::try_parse());
    if arguments.supervised
        && let Err(error) = watch_parent()
    {
        log::error!("--supervised: {error}");
        return ExitCode::FAILURE;
    }
    let config = ContainerConfig {
        frontend: format!("{}:{}", arguments.host, arguments.port),
        model_name: arguments.model_name,
        model_version: arguments.model_version,
        input_type: arguments.input_type,
        ..ContainerConfig::default()
    };
    let make = arguments.model.factory();
    let make = if arguments.one_life { once(make) } else { make };
    match serve_container(config, make).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes one model; the process ends instead of making a second one.
fn once(make: ModelFactory) -> ModelFactory {
    let made = AtomicBool::new(false);
    Arc::new(move || {
        if made.swap(true, Ordering::Relaxed) {
            log::error!(
                "the connection to the query frontend broke, and the model's memory is gone with it: ending"
            );
            std::process::exit(1);
        }
        make()
    })
}
