//! What is tested, and how it is asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use boat_clipper::{ContainerConfig, Engine, EngineConfig, InputType, ModelFactory, serve_container};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::http::{Message, ask};

/// How long a change may take until the query frontend has heard of it, and a container until it serves.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// A Clipper, or what claims to be one.
pub(crate) struct Target {
    query: SocketAddr,
    admin: SocketAddr,
    rpc: String,
    engine: Option<Engine>,
}

/// A container that serves until it is dropped.
pub(crate) struct Container(JoinHandle<()>);

impl Drop for Container {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn address(variable: &str) -> Option<SocketAddr> {
    let url = std::env::var(variable).ok()?;
    let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut found = tokio::net::lookup_host(host).await.unwrap_or_else(|error| panic!("{variable}: {error}"));
    found.next()
}

impl Target {
    /// What the environment names, or an engine.
    pub(crate) async fn find() -> Target {
        if let Some(query) = address("BOAT_CLIPPER_URL").await {
            let admin = address("BOAT_CLIPPER_ADMIN_URL").await.expect("BOAT_CLIPPER_ADMIN_URL is set too");
            let rpc = std::env::var("BOAT_CLIPPER_RPC").unwrap_or(format!("{}:7000", query.ip()));
            return Target { query, admin, rpc, engine: None };
        }
        let any = "127.0.0.1:0".parse().unwrap();
        let config =
            EngineConfig { management_address: Some(any), rpc_address: Some(any), ..EngineConfig::empty() };
        let engine = Engine::start(any, config).await.unwrap();
        Target {
            query: engine.address(),
            admin: engine.management_address().unwrap(),
            rpc: engine.rpc_address().unwrap().to_string(),
            engine: Some(engine),
        }
    }

    /// Whether it is an engine of Boat's, of which more can be asked than of a real Clipper.
    pub(crate) fn is_engine(&self) -> bool {
        self.engine.is_some()
    }

    /// A request to the query frontend. Nothing: closed without a byte.
    pub(crate) async fn query(&self, method: &str, path: &str, body: &str) -> Option<Message> {
        checked(ask(self.query, method, path, body.as_bytes()).await)
    }

    pub(crate) fn query_address(&self) -> SocketAddr {
        self.query
    }

    /// A request to the management frontend. Nothing: closed without a byte.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: &str) -> Option<Message> {
        checked(ask(self.admin, method, path, body.as_bytes()).await)
    }

    /// A management request that must get this status. Gives what it says.
    pub(crate) async fn manage(&self, endpoint: &str, body: &Value, status: u16) -> String {
        let got = self.admin("POST", &format!("/admin/{endpoint}"), &body.to_string()).await.unwrap();
        assert_eq!(got.status(), status, "{endpoint} {body}: {}", got.text());
        got.text().to_owned()
    }

    /// The answer of a `get_*`, as JSON.
    pub(crate) async fn get(&self, endpoint: &str, body: &Value) -> Value {
        serde_json::from_str(&self.manage(endpoint, body, 200).await).unwrap()
    }

    /// The answer of an application to this input, as JSON.
    pub(crate) async fn predict(&self, application: &str, body: &str) -> Value {
        let got = self.query("POST", &format!("/{application}/predict"), body).await.unwrap();
        assert_eq!(got.status(), 200, "{body}: {}", got.text());
        serde_json::from_str(got.text()).unwrap()
    }

    /// Adds an application, and waits until it answers.
    pub(crate) async fn add_application(
        &self,
        input_type: &str,
        default_output: &str,
        slo_micros: i64,
    ) -> String {
        let name = unique("app");
        let body = json!({
            "name": name, "input_type": input_type, "default_output": default_output, "latency_slo_micros": slo_micros
        });
        self.manage("add_app", &body, 200).await;
        let until = Instant::now() + SETTLE_MAX;
        while self.query("POST", &format!("/{name}/predict"), "{}").await.is_none() {
            assert!(Instant::now() < until, "{name} never answers");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        name
    }

    /// Adds a version of a model.
    pub(crate) async fn add_model(&self, name: &str, version: &str, input_type: &str) {
        self.manage("add_model", &model(name, version, input_type), 200).await;
    }

    /// Connects a container.
    pub(crate) fn serve(
        &self,
        name: &str,
        version: &str,
        input_type: InputType,
        make: ModelFactory,
    ) -> Container {
        let config = ContainerConfig {
            frontend: self.rpc.clone(),
            model_name: name.to_owned(),
            model_version: version.to_owned(),
            input_type,
            ..ContainerConfig::default()
        };
        Container(tokio::spawn(async move {
            let ended = serve_container(config, make).await;
            panic!("the container ended: {ended:?}");
        }))
    }

    /// An application linked with a model that a container serves and that has answered.
    pub(crate) async fn serving(
        &self,
        input_type: InputType,
        probe: &str,
        make: ModelFactory,
    ) -> (String, String, Container) {
        let application = self.add_application(&input_type.to_string(), "-1.0", 20_000_000).await;
        let name = unique("model");
        self.add_model(&name, "1", &input_type.to_string()).await;
        self.manage("add_model_links", &json!({"app_name": application, "model_names": [name]}), 200).await;
        let container = self.serve(&name, "1", input_type, make);
        self.until_answered(&application, probe).await;
        (application, name, container)
    }

    /// Waits until an output comes instead of the default.
    pub(crate) async fn until_answered(&self, application: &str, body: &str) {
        let until = Instant::now() + SETTLE_MAX;
        while self.predict(application, body).await["default"] == true {
            assert!(Instant::now() < until, "nothing serves {application}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Every answer claims to be JSON.
fn checked(message: Option<Message>) -> Option<Message> {
    if let Some(message) = &message {
        let head = message.head.to_ascii_lowercase();
        assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
        assert!(head.contains("\r\ncontent-length: "), "{head}");
    }
    message
}

/// The body of `add_model`.
pub(crate) fn model(name: &str, version: &str, input_type: &str) -> Value {
    json!({
        "model_name": name, "model_version": version, "labels": ["some"], "input_type": input_type,
        "container_name": "NO_CONTAINER", "model_data_path": "DEPRECATED", "batch_size": 4
    })
}

/// A name that nobody had before.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    format!("{name}-{now}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What makes a model that answers each input with `answer` of it.
pub(crate) fn answering(answer: fn(&boat_clipper::Input) -> String) -> ModelFactory {
    struct Answering(fn(&boat_clipper::Input) -> String);
    impl boat_clipper::EngineModel for Answering {
        fn predict(&mut self, inputs: &[boat_clipper::Input]) -> Vec<String> {
            inputs.iter().map(self.0).collect()
        }
    }
    Arc::new(move || Box::new(Answering(answer)))
}
