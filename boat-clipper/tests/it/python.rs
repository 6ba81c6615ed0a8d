//! Over real ZeroMQ: a container in Python, with pyzmq, and one in Rust serve the same model through an engine.
//!
//! pyzmq and numpy come from PyPI into an environment below `target`. Where that cannot be had, this says so and is skipped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use boat_clipper::{
    Change, ContainerConfig, Engine, EngineConfig, EngineModel, Input, InputType, ModelFactory,
    serve_container,
};

use crate::http::ask;

/// A container is started, and has connected.
const START_MAX: Duration = Duration::from_secs(60);

/// What the test works with, each with its version.
const PACKAGES: [&str; 2] = ["pyzmq==27.3.0", "numpy==2.4.6"];

/// A Python that has them; why not, otherwise. Made once, whichever test comes first.
fn python() -> Result<PathBuf, String> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    MADE.get_or_init(make_python).clone()
}

fn make_python() -> Result<PathBuf, String> {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let python = environment.join("bin/python3");
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr))),
        }
    };
    if run(&python, &["-c", "import zmq, numpy"]).is_ok() {
        return Ok(python);
    }
    let directory = environment.display().to_string();
    run(Path::new("python3"), &["-c", "import sys; assert sys.version_info >= (3, 11), sys.version"])?;
    run(Path::new("python3"), &["-m", "venv", "--clear", &directory])?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(&python, &[&install[..], &PACKAGES].concat())?;
    run(&python, &["-c", "import zmq, numpy"])?;
    Ok(python)
}

/// A process that ends with this value.
struct Container(Child);

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_python(python: &Path, rpc: SocketAddr, version: &str, model: &str, input_type: &str) -> Container {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/python/model_container.py");
    let child = Command::new(python)
        .arg(script)
        .env("CLIPPER_MODEL_NAME", "m")
        .env("CLIPPER_MODEL_VERSION", version)
        .env("CLIPPER_INPUT_TYPE", input_type)
        .env("CLIPPER_PORT", rpc.port().to_string())
        .env("BOAT_MODEL", model)
        .stdin(Stdio::null())
        .spawn();
    Container(child.unwrap())
}

/// The chain of the Python script, in Rust.
struct Chain(u64);

impl EngineModel for Chain {
    fn predict(&mut self, inputs: &[Input]) -> Vec<String> {
        let mut step = |input: &Input| {
            for byte in input.to_bytes().iter() {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
            format!("{:#018x}", self.0)
        };
        inputs.iter().map(&mut step).collect()
    }
}

fn chain() -> ModelFactory {
    std::sync::Arc::new(|| Box::new(Chain(0xcbf2_9ce4_8422_2325)))
}

async fn engine(input_type: InputType) -> Engine {
    let any = "127.0.0.1:0".parse().unwrap();
    let config = EngineConfig { rpc_address: Some(any), keeps_state: true, ..EngineConfig::empty() };
    let engine = Engine::start(any, config).await.unwrap();
    deploy(&engine, input_type);
    engine
}

fn deploy(engine: &Engine, input_type: InputType) {
    let model = |version: &str| {
        format!(
            "{{\"model_name\":\"m\",\"model_version\":\"{version}\",\"labels\":[],\"input_type\":\"{input_type}\",\
             \"container_name\":\"c\",\"model_data_path\":\"\",\"batch_size\":16}}"
        )
    };
    let application = format!(
        "{{\"name\":\"a\",\"input_type\":\"{input_type}\",\"default_output\":\"\",\"latency_slo_micros\":60000000}}"
    );
    for (endpoint, body) in [
        ("add_app", application),
        ("add_model", model("1")),
        ("add_model", model("2")),
        ("add_model_links", r#"{"app_name":"a","model_names":["m"]}"#.to_owned()),
    ] {
        engine.change(&Change::parse(endpoint, body.as_bytes()).unwrap().unwrap()).unwrap();
    }
}

/// The elements of an answer, once there is a container that gives any.
async fn outputs(engine: &Engine, version: &str, inputs: &serde_json::Value) -> Vec<String> {
    let body = serde_json::json!({ "input_batch": inputs, "version": version }).to_string();
    let until = Instant::now() + START_MAX;
    loop {
        let answer = ask(engine.address(), "POST", "/a/predict", body.as_bytes()).await.unwrap();
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let elements = json["batch_predictions"].as_array().unwrap();
        let shown = |element: &serde_json::Value| match element["output"].as_str() {
            Some(text) => text.to_owned(),
            None => element["output"].to_string(),
        };
        match elements[0]["default_explanation"].as_str() {
            None => return elements.iter().map(shown).collect(),
            Some(why) => {
                assert!(why.starts_with("No connected models") && Instant::now() < until, "{answer:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

#[tokio::test]
async fn the_same_model_in_python_and_in_rust_answers_the_same() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => return eprintln!("SKIPPED: no Python with {PACKAGES:?}: {why}"),
    };
    let mut engine = engine(InputType::Strings).await;
    let rpc = engine.rpc_address().unwrap();
    let config = ContainerConfig {
        model_name: "m".to_owned(),
        model_version: "2".to_owned(),
        ..ContainerConfig::at(rpc)
    };
    let in_rust = tokio::spawn(serve_container(config, chain()));
    let in_python = start_python(&python, rpc, "1", "hash-chain", "strings");
    let inputs: Vec<String> = (0..100).map(|n| format!("h\u{e9}llo {}", n % 7)).collect();
    let inputs = serde_json::json!(inputs);
    let first = outputs(&engine, "1", &inputs).await;
    assert_eq!(first.len(), 100);
    assert_eq!(outputs(&engine, "2", &inputs).await, first);
    let second = outputs(&engine, "1", &inputs).await;
    assert_ne!(second, first);
    assert_eq!(outputs(&engine, "2", &inputs).await, second);
    // A fresh engine gets fresh models: both come back with no memory.
    engine.restart().await.unwrap();
    deploy(&engine, InputType::Strings);
    assert_eq!(outputs(&engine, "1", &inputs).await, first);
    assert_eq!(outputs(&engine, "2", &inputs).await, first);
    drop(in_python);
    in_rust.abort();
}

#[tokio::test]
async fn python_sees_every_type_as_it_was_sent() {
    let Ok(python) = python() else { return eprintln!("SKIPPED: no Python") };
    for (input_type, inputs, expected) in [
        (InputType::Doubles, serde_json::json!([[1.5, -2.0], [3.0]]), vec!["[1.5,-2.0]", "[3.0]"]),
        (InputType::Floats, serde_json::json!([[1.5], [0.25, 2.0]]), vec!["[1.5]", "[0.25,2.0]"]),
        (InputType::Integers, serde_json::json!([[1, -2], [2147483647]]), vec!["[1,-2]", "[2147483647]"]),
        (InputType::Bytes, serde_json::json!(["aGk=", "/w=="]), vec!["[104,105]", "[-1]"]),
    ] {
        let engine = engine(input_type).await;
        let name = input_type.to_string();
        let _container = start_python(&python, engine.rpc_address().unwrap(), "1", "echo", &name);
        assert_eq!(outputs(&engine, "1", &inputs).await, expected, "{input_type}");
    }
}
