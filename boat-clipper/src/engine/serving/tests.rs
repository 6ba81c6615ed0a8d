use std::sync::mpsc as blocking;

use super::*;
use crate::engine::{ApplicationConfig, ModelConfig};

/// Answers each batch with what the test sends, once it sends it.
struct Told {
    told: blocking::Receiver<Vec<String>>,
    seen: blocking::Sender<usize>,
}

impl EngineModel for Told {
    fn predict(&mut self, inputs: &[Input]) -> Vec<String> {
        self.seen.send(inputs.len()).unwrap();
        self.told.recv().unwrap()
    }
}

fn start(application: ApplicationConfig, keeps_state: bool) -> Arc<Serving> {
    let config = EngineConfig { applications: vec![application], keeps_state, ..EngineConfig::default() };
    Serving::start(&config, Arc::default()).unwrap()
}

fn told(latency_slo_micros: u64) -> (Arc<Serving>, blocking::Sender<Vec<String>>, blocking::Receiver<usize>) {
    let (tell, told) = blocking::channel();
    let (seen, see) = blocking::channel();
    let model = Mutex::new(Some(Told { told, seen }));
    let make = Arc::new(move || Box::new(model.lock().unwrap().take().unwrap()) as Box<dyn EngineModel>);
    let model = Some(ModelConfig { make, ..ModelConfig::default() });
    (start(ApplicationConfig { latency_slo_micros, model, ..ApplicationConfig::default() }, false), tell, see)
}

async fn predict(serving: &Serving, count: usize) -> (u64, Vec<Result<String, &'static str>>) {
    predict_within(serving, count, Duration::from_secs(60)).await
}

async fn predict_within(
    serving: &Serving,
    count: usize,
    slo: Duration,
) -> (u64, Vec<Result<String, &'static str>>) {
    let target = Target { slo, ..serving.target("default").unwrap() };
    let inputs = vec![Input::String("x".to_owned()); count];
    let answered = serving.predict(target, None, inputs).await.unwrap();
    (answered.query_id, answered.outputs)
}

#[tokio::test]
async fn a_late_model_gives_the_default_and_what_still_waits_is_never_run() {
    let (serving, tell, seen) = told(20_000);
    let slo = Duration::from_millis(20);
    // The time starts with the query and this wait comes second: the model has it, however slow the machine.
    let (late, taken) = tokio::join!(predict_within(&serving, 1, slo), async { seen.recv() });
    assert_eq!(taken, Ok(1));
    assert_eq!(late, (0, vec![Err(TOO_LATE)]));
    assert_eq!(predict_within(&serving, 5, slo).await, (1, vec![Err(TOO_LATE); 5]));
    tell.send(vec!["late".to_owned()]).unwrap();
    tell.send(vec!["in time".to_owned(); 2]).unwrap();
    assert_eq!(predict(&serving, 2).await, (6, vec![Ok("in time".to_owned()); 2]));
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn a_model_that_miscounts_or_dies_gives_the_default() {
    let (serving, tell, _seen) = told(60_000_000);
    tell.send(Vec::new()).unwrap();
    assert_eq!(predict(&serving, 2).await.1, vec![Err(TOO_LATE); 2]);
    drop(tell);
    assert_eq!(predict(&serving, 1).await.1, [Err(TOO_LATE)]);
    // Its thread ends behind the answer.
    while serving.look(&Look::AllContainers { verbose: false }) != Ok("[]".to_owned()) {
        tokio::task::yield_now().await;
    }
    assert_eq!(predict(&serving, 1).await.1, [Err(NO_MODEL)]);
    assert_eq!(predict(&serving, 0).await.1, []);
}

#[tokio::test]
async fn without_a_model_the_default_comes_at_once() {
    let serving = start(ApplicationConfig { model: None, ..ApplicationConfig::default() }, false);
    assert_eq!(predict(&serving, 1).await.1, [Err(NO_MODEL)]);
}

fn metadata() -> Metadata {
    let (model_name, model_version) = ("m".to_owned(), "1".to_owned());
    Metadata { model_name, model_version, input_type: InputType::Strings }
}

fn deploy_m(serving: &Arc<Serving>) {
    for (endpoint, body) in [
        (
            "add_model",
            r#"{"model_name":"m","model_version":"1","labels":[],"input_type":"s","container_name":"c","model_data_path":"","batch_size":2}"#,
        ),
        ("add_model_links", r#"{"app_name":"default","model_names":["m"]}"#),
    ] {
        serving.change(&Change::parse(endpoint, body.as_bytes()).unwrap().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_model_that_keeps_state_has_one_container_once() {
    let serving = start(ApplicationConfig { model: None, ..ApplicationConfig::default() }, true);
    deploy_m(&serving);
    let id = |text: &'static str| Bytes::from_static(text.as_bytes());
    let first = serving.register(&metadata(), &id("a")).unwrap();
    assert!(serving.register(&metadata(), &id("b")).unwrap_err().contains("has its container already"));
    // Nothing has run yet: another may take its place, but not itself again.
    drop(first);
    assert!(serving.register(&metadata(), &id("a")).unwrap_err().contains("old memory"));
    let second = serving.register(&metadata(), &id("c")).unwrap();
    let (answered, ()) = tokio::join!(predict(&serving, 1), async {
        second.take().await.unwrap().complete(["out".to_owned()]);
    });
    assert_eq!(answered.1, [Ok("out".to_owned())]);
    drop(second);
    assert!(serving.register(&metadata(), &id("d")).unwrap_err().contains("is rebuilt first"));
    // Not as if it were yet to come: its state is gone.
    assert_eq!(predict(&serving, 1).await.1, [Err(TOO_LATE)]);
}

#[tokio::test]
async fn replicas_without_state_share_the_queries_and_come_and_go() {
    let serving = start(ApplicationConfig { model: None, ..ApplicationConfig::default() }, false);
    let (early, nameless) = (serving.register(&metadata(), &Bytes::new()).unwrap(), Bytes::new());
    deploy_m(&serving);
    let other = serving.register(&metadata(), &nameless).unwrap();
    assert_eq!(serving.look(&Look::AllContainers { verbose: false }), Ok(r#"["m:1:0","m:1:1"]"#.to_owned()));
    let (answered, ()) = tokio::join!(predict(&serving, 4), async {
        let (first, second) = (early.take().await.unwrap(), other.take().await.unwrap());
        second.complete(["c".to_owned(), "d".to_owned()]);
        first.complete(["a".to_owned(), "b".to_owned()]);
    });
    assert_eq!(answered.1, ["a", "b", "c", "d"].map(|output| Ok(output.to_owned())));
    drop((early, other));
    let again = serving.register(&metadata(), &nameless).unwrap();
    assert_eq!(serving.look(&Look::AllContainers { verbose: false }), Ok(r#"["m:1:2"]"#.to_owned()));
    serving.change(&Change::DeleteVersionedModel(again.model().clone())).unwrap();
    assert!(again.take().await.is_none());
    assert_eq!(predict(&serving, 1).await.1, [Err(NO_MODEL)]);
}

#[tokio::test]
async fn built_in_models_come_with_a_deployment() {
    let serving = Serving::start(&EngineConfig::empty(), Arc::default()).unwrap();
    for (endpoint, body) in [
        ("add_app", r#"{"name":"a","input_type":"s","default_output":"","latency_slo_micros":60000000}"#),
        (
            "add_model",
            r#"{"model_name":"m","model_version":"1","labels":[],"input_type":"s","container_name":"boat/echo","model_data_path":"","batch_size":2}"#,
        ),
        ("add_model_links", r#"{"app_name":"a","model_names":["m"]}"#),
    ] {
        serving.change(&Change::parse(endpoint, body.as_bytes()).unwrap().unwrap()).unwrap();
    }
    let target = serving.target("a").unwrap();
    let inputs = vec![Input::String("x".to_owned())];
    let answered = serving.predict(target.clone(), None, inputs.clone()).await.unwrap();
    assert_eq!(answered.outputs, [Ok("x".to_owned())]);
    let unknown = serving.predict(target, Some("2"), inputs).await;
    assert_eq!(unknown, Err("Requested version: 2 does not exist for model: m".to_owned()));
}
