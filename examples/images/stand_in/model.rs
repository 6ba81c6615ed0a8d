//! A model container that fails as its inputs tell it: a hash chain for all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use boat_clipper::{ContainerConfig, EngineModel, HashChain, Input, InputType, serve_container};

use super::Failure;

/// What the process ends with where an input crashes it.
const CRASH_STATUS: i32 = 42;
/// How long the model thinks about an input that is too much for it: longer than any call may take.
const SLOW: Duration = Duration::from_secs(60);

/// Who it is, in the variables of Clipper's containers, and which type it claims to take.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelFlags {
    #[arg(long, env = "CLIPPER_MODEL_NAME", default_value = "echo-model")]
    model_name: String,
    #[arg(long, env = "CLIPPER_MODEL_VERSION", default_value = "1")]
    model_version: String,
    #[arg(long, env = "CLIPPER_IP", default_value = "127.0.0.1")]
    host: String,
    #[arg(long = "claims", env = "BOAT_TEST_CLAIMS", default_value_t = InputType::Strings)]
    input_type: InputType,
}

#[derive(Default)]
struct Faulty(HashChain);

impl EngineModel for Faulty {
    fn predict(&mut self, inputs: &[Input]) -> Vec<String> {
        let mut outputs = Vec::new();
        for input in inputs {
            match input.to_string().as_str() {
                "crash" => std::process::exit(CRASH_STATUS),
                "slow" => std::thread::sleep(SLOW),
                "too few" => return outputs,
                _ => {}
            }
            outputs.push(self.0.step(&input.to_bytes()));
        }
        outputs
    }
}

pub(crate) async fn run(flags: ModelFlags) -> Result<(), Failure> {
    let config = ContainerConfig {
        frontend: format!("{}:7000", flags.host),
        model_name: flags.model_name,
        model_version: flags.model_version,
        input_type: flags.input_type,
        ..ContainerConfig::default()
    };
    let made = AtomicBool::new(false);
    // As Boat's own model container does with `--one-life`.
    let make = move || -> Box<dyn EngineModel> {
        if made.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
        Box::<Faulty>::default()
    };
    Ok(serve_container(config, Arc::new(make)).await?)
}
