//! Applications that are deleted and added again, on a query frontend that never forgets one, as Clipper's own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use boat_clipper::{
    Application, Beginning, Change, ClipperConfig, ClipperPredictor, Configuration, Deployment, Engine,
    EngineConfig, HashChain, InputType, Look, Renewal, parse_deployment,
};
use boat_core::{Call, CallOutcome, Predictor, RequestKind, StateKind};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::{calls, http, input, output, predict};

/// A management frontend, and a query frontend that hears of its changes as Clipper's does: what it has once served it goes on
/// serving, with its type and SLO.
struct Clipper {
    frontend: Arc<Engine>,
    management_address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Clipper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Clipper {
    async fn start() -> Clipper {
        let any = "127.0.0.1:0".parse().unwrap();
        let frontend = Arc::new(Engine::start(any, EngineConfig::empty()).await.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let management_address = listener.local_addr().unwrap();
        let task = tokio::spawn(manage(listener, Arc::clone(&frontend)));
        Clipper { frontend, management_address, task }
    }

    /// A node's predictor on it.
    fn predictor(&self, state_kind: StateKind) -> ClipperPredictor {
        let config = ClipperConfig {
            replicated: true,
            management_address: Some(self.management_address),
            settle_ms: 0,
            probe: false,
            state_kind,
            ..ClipperConfig::default()
        };
        ClipperPredictor::new(self.frontend.address(), config, Renewal::External).unwrap()
    }

    /// What the query frontend knows under this name, as JSON.
    fn knows(&self, name: &str) -> String {
        self.frontend.look(&Look::Application { name: name.to_owned() }).unwrap()
    }
}

async fn manage(listener: TcpListener, frontend: Arc<Engine>) {
    let deployment = Arc::new(Mutex::new(Deployment::new()));
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, Arc::clone(&frontend), Arc::clone(&deployment)));
    }
}

async fn answer(mut stream: TcpStream, frontend: Arc<Engine>, deployment: Arc<Mutex<Deployment>>) {
    while let Some(request) = http::read(&mut stream).await {
        let endpoint = request.head.split(' ').nth(1).unwrap().strip_prefix("/admin/").unwrap().to_owned();
        let said = match Change::parse(&endpoint, &request.body) {
            Some(change) => {
                let change = change.unwrap();
                let said = deployment.lock().unwrap().apply(&change);
                if said.is_ok() && !matches!(change, Change::DeleteApp { .. }) {
                    // It asks nobody whether things fit, and an application that it knows it does not take in again.
                    let _ = frontend.change(&change);
                }
                said
            }
            None => {
                let look = Look::parse(&endpoint, &request.body).unwrap().unwrap();
                deployment.lock().unwrap().look(&look, &[])
            }
        };
        let (status, text) = said.map_or_else(|why| (400, why), |text| (200, text));
        let answer = format!("HTTP/1.1 {status} -\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// As long as any that Boat raises them to.
const SLO_MICROS: i64 = 500_000_000;

fn add(input_type: InputType, latency_slo_micros: i64) -> Change {
    let (name, default_output) = ("default".to_owned(), String::new());
    Change::AddApp(Application { name, input_type, default_output, latency_slo_micros })
}

fn parse(endpoint: &str, body: &str) -> Change {
    Change::parse(endpoint, body.as_bytes()).unwrap().unwrap()
}

fn delete() -> Change {
    parse("delete_app", r#"{"name":"default"}"#)
}

/// The hash chain behind the application, for strings.
fn begin() -> Call {
    let begin = parse_deployment(
        "[[application]]\nname = 'default'\nmodel = 'm'\n\
         [[model]]\nname = 'm'\nversion = '1'\ncontainer = 'boat/hash-chain'\n",
    );
    configure(Configuration::Begin(Beginning { begin: begin.unwrap() }))
}

fn change(change: Change) -> Call {
    configure(Configuration::Change(change))
}

fn configure(configuration: Configuration) -> Call {
    let mut call = calls(&[configuration.to_body()]).remove(0);
    call.kind = RequestKind::Configure;
    call
}

/// The application for doubles, behind it a model of its own.
fn doubles_instead() -> Vec<Call> {
    let links = |model: &str| format!(r#"{{"app_name":"default","model_names":["{model}"]}}"#);
    let model = r#"{"model_name":"d","model_version":"1","labels":[],"input_type":"doubles","container_name":"boat/echo","model_data_path":"","batch_size":4}"#;
    [
        parse("delete_model_links", &links("m")),
        delete(),
        add(InputType::Doubles, SLO_MICROS),
        parse("add_model", model),
        parse("add_model_links", &links("d")),
    ]
    .map(change)
    .into()
}

async fn run(predictor: &mut ClipperPredictor, calls: &[Call]) -> Vec<CallOutcome> {
    let (outcomes, ended) = predict(predictor, calls).await;
    assert_eq!(ended, Ok(()));
    assert_eq!(outcomes.len(), calls.len());
    let refused = outcomes.iter().find(|outcome| !matches!(outcome, CallOutcome::Output(_)));
    assert_eq!(refused, None);
    outcomes
}

fn chained(chain: &mut HashChain, text: &str) -> CallOutcome {
    output(0, &format!("{:?}", chain.step(text.as_bytes())))
}

#[tokio::test]
async fn an_application_that_comes_back_as_another_is_another_and_its_model_keeps_its_state() {
    let clipper = Clipper::start().await;
    let mut predictor = clipper.predictor(StateKind::Replay);
    predictor.reset().await.unwrap();
    let mut chain = HashChain::default();
    let first = |text: &str| calls(&[input(text)]);
    run(&mut predictor, &[begin()]).await;
    assert_eq!(run(&mut predictor, &first("a")).await, [chained(&mut chain, "a")]);

    // Another SLO. The link has outlived the application.
    run(&mut predictor, &[change(delete()), change(add(InputType::Strings, SLO_MICROS))]).await;
    assert_eq!(run(&mut predictor, &first("b")).await, [chained(&mut chain, "b")]);
    assert!(!clipper.knows("default").contains(&SLO_MICROS.to_string()), "no Clipper");
    assert!(clipper.knows("default.boat2").contains(&SLO_MICROS.to_string()));

    // The same once more: Clipper has what is wanted.
    run(&mut predictor, &[change(delete()), change(add(InputType::Strings, SLO_MICROS))]).await;
    assert_eq!(run(&mut predictor, &first("c")).await, [chained(&mut chain, "c")]);
    assert_eq!(clipper.knows("default.boat3"), "{}");

    // Another type.
    run(&mut predictor, &doubles_instead()).await;
    assert_eq!(run(&mut predictor, &calls(&[r#"{"input":[1.5]}"#])).await, [output(0, "[1.5]")]);
    let view = predictor.deployment_view().unwrap().deployment();
    assert_eq!(view.applications().map(|all| all.name.as_str()).collect::<Vec<_>>(), ["default"]);
}

#[tokio::test]
async fn another_life_of_a_node_finds_what_the_frontend_has_not_forgotten() {
    let clipper = Clipper::start().await;
    let mut first = clipper.predictor(StateKind::Stateless);
    first.reset().await.unwrap();
    run(&mut first, &[begin()]).await;
    run(&mut first, &doubles_instead()).await;
    let mut state = Vec::new();
    first.freeze().await.unwrap().write_to(&mut state).unwrap();
    drop(first);
    // The name is what it was, or the next, with the next node.
    for _ in 0..2 {
        let mut next = clipper.predictor(StateKind::Stateless);
        next.restore(&mut state.as_slice()).await.unwrap();
        assert_eq!(run(&mut next, &calls(&[r#"{"input":[1.5]}"#])).await, [output(0, "[1.5]")]);
    }
    // One that plays all of it again.
    let mut next = clipper.predictor(StateKind::Stateless);
    next.reset().await.unwrap();
    let again = [vec![change(add(InputType::Strings, 1)), change(delete())], doubles_instead()[2..].to_vec()];
    run(&mut next, &again.concat()).await;
    assert_eq!(run(&mut next, &calls(&[r#"{"input":[2.5]}"#])).await, [output(0, "[2.5]")]);
}
