//! A model in a container that crashes: over one input, and now and then.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use boat_clipper::{
    Backend, BackendConfig, Beginning, Change, Configuration, ContainerConfig, ContainerError, EngineModel,
    HashChain, Input, ModelFactory, parse_deployment, serve_container,
};
use boat_core::{Call, CallOutcome, Predictor, PredictorError, RequestKind};

use crate::{calls, input, lost, output, predict};

/// How often something is tried that must work in the end.
const TRIES_MAX: usize = 1_000;

/// A chain that crashes when it is told to.
struct Crashing {
    chain: HashChain,
    crashes: Arc<dyn Fn(&Input) -> bool + Send + Sync>,
}

impl EngineModel for Crashing {
    fn predict(&mut self, inputs: &[Input]) -> Vec<String> {
        let mut step = |input: &Input| {
            assert!(!(self.crashes)(input), "the model crashes, as it was told");
            self.chain.step(&input.to_bytes())
        };
        inputs.iter().map(&mut step).collect()
    }
}

fn crashing(crashes: impl Fn(&Input) -> bool + Send + Sync + 'static) -> ModelFactory {
    let crashes: Arc<dyn Fn(&Input) -> bool + Send + Sync> = Arc::new(crashes);
    Arc::new(move || Box::new(Crashing { chain: HashChain::default(), crashes: Arc::clone(&crashes) }))
}

/// A model that connects, as the log would tell of it.
pub(crate) fn beginning() -> Vec<Change> {
    parse_deployment(
        "[[application]]\nname = 'default'\nmodel = 'echo-model'\n\
         [[model]]\nname = 'echo-model'\nversion = '1'\ncontainer = 'mine'\nbatch_size = 4\n",
    )
    .unwrap()
}

/// A backend for it, and where it connects.
pub(crate) async fn connectable() -> (Backend, SocketAddr) {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    // The address of the containers is to be known: one that was free a moment ago.
    let free = std::net::TcpListener::bind(any).unwrap().local_addr().unwrap();
    let config = BackendConfig {
        query_address: any,
        rpc_address: Some(free),
        replicated: true,
        ..BackendConfig::default()
    };
    (Backend::from_config(config).await.unwrap(), free)
}

/// The two, and the call that tells.
async fn backend() -> (Backend, SocketAddr, Call) {
    let (backend, free) = connectable().await;
    let mut begin = calls(&[Configuration::Begin(Beginning { begin: beginning() }).to_body()]).remove(0);
    begin.kind = RequestKind::Configure;
    (backend, free, begin)
}

/// Starts the container again whenever its model has crashed, as a supervisor does.
async fn supervise(frontend: SocketAddr, make: ModelFactory) {
    loop {
        let config = ContainerConfig { reconnect_ms: 5, ..ContainerConfig::at(frontend) };
        let ended = serve_container(config, Arc::clone(&make)).await;
        assert!(matches!(ended, Err(ContainerError::ModelPanicked)), "{ended:?}");
    }
}

/// Runs `calls` until each has its outcome, as the applier does: what is unavailable is tried again, what is lost replayed.
async fn run(backend: &mut Backend, calls: &[Call]) -> (Vec<CallOutcome>, usize) {
    let (mut outcomes, mut losses) = (Vec::new(), 0);
    backend.reset().await.unwrap();
    for _ in 0..TRIES_MAX {
        let done = outcomes.len();
        let rest: Vec<Call> = calls[done..].iter().take(8).cloned().collect();
        if rest.is_empty() {
            return (outcomes, losses);
        }
        let (given, ended) = predict(backend, &rest).await;
        outcomes.extend(given);
        match ended {
            Ok(()) => {}
            Err(PredictorError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(2)).await,
            Err(PredictorError::StateLost(_)) => {
                losses += 1;
                outcomes.clear();
                backend.reset().await.unwrap();
            }
        }
    }
    panic!("{} of {} after {TRIES_MAX} tries and {losses} losses", outcomes.len(), calls.len());
}

#[tokio::test]
async fn a_model_that_crashes_now_and_then_comes_back_by_replay_with_every_input_once() {
    let (mut backend, frontend, begin) = backend().await;
    let steps = Arc::new(AtomicU32::new(0));
    // Now and then, ever more rarely, so that the end is reached.
    let make = crashing(move |_| [7, 31, 32, 150, 400].contains(&steps.fetch_add(1, Ordering::Relaxed)));
    let container = tokio::spawn(supervise(frontend, make));
    let texts: Vec<String> = (0..60).map(|n| format!("in{}", n % 9)).collect();
    let bodies: Vec<String> = texts.iter().map(|text| input(text)).collect();
    let mut all = vec![begin];
    all.extend(calls(&bodies));
    let (outcomes, losses) = run(&mut backend, &all).await;
    let mut chain = HashChain::default();
    let expected =
        (0..).zip(&texts).map(|(n, text)| output(n, &format!("{:?}", chain.step(text.as_bytes()))));
    assert_eq!(outcomes[1..], expected.collect::<Vec<_>>());
    assert!(losses >= 3, "{losses}");
    container.abort();
}

#[tokio::test]
async fn an_input_that_crashes_the_model_is_a_lost_state_each_time_and_the_others_run() {
    let (mut backend, frontend, begin) = backend().await;
    let make = crashing(|input| input.to_string() == "poison");
    let container = tokio::spawn(supervise(frontend, make));
    let all = [vec![begin], calls(&[input("a"), input("b")])].concat();
    let poison = calls(&[input("poison")]);
    for _ in 0..2 {
        let (outcomes, _) = run(&mut backend, &all).await;
        assert_eq!(outcomes.len(), 3);
        let (given, ended) = predict(&mut backend, &poison).await;
        assert!(given.is_empty());
        lost(ended);
    }
    container.abort();
}
