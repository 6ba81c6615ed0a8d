//! Containers that do as they are told, well and badly, over real sockets.

use std::future::Future;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::InputType;
use crate::deployment::{Change, Look};
use crate::engine::{Engine, EngineConfig};

/// Nothing takes longer, on the slowest machine.
const WAIT_MAX: Duration = Duration::from_secs(20);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(WAIT_MAX, what).await.expect("nothing happened")
}

/// The other end of a container's connection.
struct Puppet {
    incoming: Incoming<OwnedReadHalf>,
    outgoing: Outgoing<OwnedWriteHalf>,
}

impl Puppet {
    async fn connect(engine: &Engine, identity: &str) -> Puppet {
        let stream = TcpStream::connect(engine.rpc_address().unwrap()).await.unwrap();
        let (read, write) = stream.into_split();
        let limits = Limits { message_bytes_max: 1 << 20, frames_max: 100 };
        let greeted = handshake(read, write, SocketType::Dealer, identity.as_bytes(), limits);
        let (incoming, outgoing, _) = soon(greeted).await.unwrap();
        Puppet { incoming, outgoing }
    }

    /// One that has said that it serves `m` version 1.
    async fn registered(engine: &Engine, identity: &str) -> Puppet {
        let mut puppet = Puppet::connect(engine, identity).await;
        assert!(puppet.beat().await);
        puppet.register(InputType::Strings).await;
        // Metadata is not acknowledged; the next heartbeat is answered behind it.
        assert!(!puppet.beat().await);
        puppet
    }

    async fn send(&mut self, message: FromContainer) {
        self.outgoing.send(&message.encode()).await.unwrap();
    }

    async fn register(&mut self, input_type: InputType) {
        let (model_name, model_version) = ("m".to_owned(), "1".to_owned());
        self.send(FromContainer::Metadata(Metadata { model_name, model_version, input_type })).await;
    }

    /// Whether the frontend wants to know what it serves.
    async fn beat(&mut self) -> bool {
        self.send(FromContainer::Heartbeat).await;
        match self.hear().await {
            Some(ToContainer::Heartbeat { wants_metadata }) => wants_metadata,
            other => panic!("{other:?} for a heartbeat"),
        }
    }

    /// The next message; nothing when the frontend has ended the connection.
    async fn hear(&mut self) -> Option<ToContainer> {
        soon(self.incoming.next()).await.ok().map(|message| ToContainer::decode(&message).unwrap())
    }

    async fn batch(&mut self) -> (u32, Vec<Bytes>) {
        match self.hear().await {
            Some(ToContainer::Predict { id, inputs }) => (id, inputs.inputs),
            other => panic!("{other:?} instead of a batch"),
        }
    }

    async fn answer(&mut self, id: u32, outputs: &[&'static str]) {
        let outputs = outputs.iter().map(|output| Bytes::from_static(output.as_bytes())).collect();
        self.send(FromContainer::Response { id, outputs }).await;
    }
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// An engine with the application `a` before version 1 of the model `m`, in batches of two.
async fn engine(config: EngineConfig) -> Engine {
    let config = EngineConfig { applications: Vec::new(), rpc_address: Some(any_port()), ..config };
    let engine = Engine::start(any_port(), config).await.unwrap();
    deploy(&engine);
    engine
}

fn deploy(engine: &Engine) {
    for (endpoint, body) in [
        ("add_app", r#"{"name":"a","input_type":"s","default_output":"-1","latency_slo_micros":60000000}"#),
        (
            "add_model",
            r#"{"model_name":"m","model_version":"1","labels":[],"input_type":"s","container_name":"c","model_data_path":"","batch_size":2}"#,
        ),
        ("add_model_links", r#"{"app_name":"a","model_names":["m"]}"#),
    ] {
        engine.change(&Change::parse(endpoint, body.as_bytes()).unwrap().unwrap()).unwrap();
    }
}

fn containers(engine: &Engine) -> String {
    engine.look(&Look::AllContainers { verbose: false }).unwrap()
}

/// What the application answers, without its shell: outputs, and `default` for those that are none.
async fn ask(engine: &Engine, body: &str) -> Vec<String> {
    let mut stream = TcpStream::connect(engine.address()).await.unwrap();
    let head = format!(
        "POST /a/predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let elements = json["batch_predictions"].as_array().cloned().unwrap_or_else(|| vec![json]);
    let shown = |element: serde_json::Value| match element["default"] == true {
        true => "default".to_owned(),
        false => element["output"].as_str().unwrap().to_owned(),
    };
    elements.into_iter().map(shown).collect()
}

const THREE: &str = r#"{"input_batch":["x","y","x"]}"#;

#[tokio::test]
async fn a_container_gets_every_input_once_in_order_one_batch_at_a_time() {
    let engine = engine(EngineConfig::default()).await;
    let mut puppet = Puppet::registered(&engine, "").await;
    assert_eq!(containers(&engine), r#"["m:1:0"]"#);
    // A second registration is ignored.
    puppet.register(InputType::Doubles).await;
    let (outputs, ()) = tokio::join!(ask(&engine, THREE), async {
        let (id, inputs) = puppet.batch().await;
        assert_eq!(inputs, ["x", "y"]);
        // Still at work: a heartbeat brings no second batch.
        assert!(!puppet.beat().await);
        puppet.answer(id, &["one", "two"]).await;
        let (id, inputs) = puppet.batch().await;
        assert_eq!(inputs, ["x"]);
        puppet.answer(id, &["three"]).await;
    });
    assert_eq!(outputs, ["one", "two", "three"]);
}

#[tokio::test]
async fn whoever_is_of_another_version_is_asked_again_and_again() {
    let engine = engine(EngineConfig::default()).await;
    let mut puppet = Puppet::connect(&engine, "").await;
    let metadata = Metadata {
        model_name: "m".to_owned(),
        model_version: "1".to_owned(),
        input_type: InputType::Strings,
    };
    let mut other = FromContainer::Metadata(metadata).encode();
    *other.last_mut().unwrap() = Bytes::from_static(&[2, 0, 0, 0]);
    for wrong in [other.clone(), other[..5].to_vec(), vec![Bytes::from_static(b"hello")]] {
        puppet.outgoing.send(&wrong).await.unwrap();
        assert!(puppet.beat().await);
    }
    assert_eq!(containers(&engine), "[]");
    // But not for ever.
    for _ in 0..MALFORMED_MAX {
        let _ = puppet.outgoing.send(&other).await;
    }
    assert_eq!(puppet.hear().await, None);
}

#[tokio::test]
async fn garbage_instead_of_outputs_is_a_default_and_ends_the_connection() {
    let engine = engine(EngineConfig::default()).await;
    type Garbage = fn(u32) -> Message;
    let garbage: [Garbage; 5] = [
        |id| FromContainer::Response { id, outputs: vec![Bytes::new(); 3] }.encode(),
        |id| FromContainer::Response { id, outputs: Vec::new() }.encode(),
        |id| FromContainer::Response { id: id + 1, outputs: vec![Bytes::new(); 2] }.encode(),
        |id| {
            let mut lie = FromContainer::Response { id, outputs: vec![Bytes::from_static(b"1"); 2] }.encode();
            lie.pop();
            lie
        },
        |_| vec![Bytes::from_static(b"hello")],
    ];
    for garbage in garbage {
        let mut puppet = Puppet::registered(&engine, "").await;
        let (outputs, ()) = tokio::join!(ask(&engine, r#"{"input_batch":["x","y"]}"#), async {
            let (id, _) = puppet.batch().await;
            puppet.outgoing.send(&garbage(id)).await.unwrap();
            assert_eq!(puppet.hear().await, None);
        });
        assert_eq!(outputs, ["default", "default"]);
    }
    let mut unasked = Puppet::registered(&engine, "").await;
    unasked.answer(0, &["x"]).await;
    assert_eq!(unasked.hear().await, None);
}

#[tokio::test]
async fn outputs_that_are_no_text_become_text() {
    let engine = engine(EngineConfig::default()).await;
    let mut puppet = Puppet::registered(&engine, "").await;
    let (outputs, ()) = tokio::join!(ask(&engine, r#"{"input":"x"}"#), async {
        let (id, _) = puppet.batch().await;
        let outputs = vec![Bytes::from_static(b"a\xff")];
        puppet.send(FromContainer::Response { id, outputs }).await;
    });
    assert_eq!(outputs, ["a\u{fffd}"]);
}

#[tokio::test]
async fn a_container_of_another_type_gets_nothing_to_run() {
    let engine = engine(EngineConfig::default()).await;
    let mut puppet = Puppet::connect(&engine, "").await;
    puppet.register(InputType::Doubles).await;
    assert!(!puppet.beat().await);
    assert_eq!(ask(&engine, THREE).await, ["default", "default", "default"]);
    assert!(!puppet.beat().await);
}

#[tokio::test]
async fn a_slow_container_costs_defaults_and_nothing_runs_twice() {
    let engine = engine(EngineConfig::default()).await;
    for (endpoint, body) in [
        ("delete_app", r#"{"name":"a"}"#),
        ("add_app", r#"{"name":"a","input_type":"s","default_output":"","latency_slo_micros":50000}"#),
    ] {
        engine.change(&Change::parse(endpoint, body.as_bytes()).unwrap().unwrap()).unwrap();
    }
    let mut puppet = Puppet::registered(&engine, "").await;
    assert_eq!(ask(&engine, THREE).await, ["default", "default", "default"]);
    let (id, inputs) = puppet.batch().await;
    assert_eq!(inputs, ["x", "y"]);
    // It is at work still, so that the next one waits in vain.
    assert_eq!(ask(&engine, r#"{"input":"z"}"#).await, ["default"]);
    puppet.answer(id, &["late", "late"]).await;
    for (endpoint, body) in [
        ("delete_app", r#"{"name":"a"}"#),
        ("add_app", r#"{"name":"a","input_type":"s","default_output":"","latency_slo_micros":60000000}"#),
    ] {
        engine.change(&Change::parse(endpoint, body.as_bytes()).unwrap().unwrap()).unwrap();
    }
    let (outputs, ()) = tokio::join!(ask(&engine, r#"{"input":"w"}"#), async {
        let (id, inputs) = puppet.batch().await;
        assert_eq!(inputs, ["w"]);
        puppet.answer(id, &["w!"]).await;
    });
    assert_eq!(outputs, ["w!"]);
}

#[tokio::test]
async fn a_container_that_dies_over_an_input_is_a_default_at_once() {
    let engine = engine(EngineConfig::default()).await;
    let mut puppet = Puppet::registered(&engine, "").await;
    let (outputs, _) = tokio::join!(ask(&engine, r#"{"input_batch":["x","y"]}"#), async {
        puppet.batch().await;
        drop(puppet);
    });
    assert_eq!(outputs, ["default", "default"]);
    // The next one takes its place: the model keeps no state.
    let _other = Puppet::registered(&engine, "").await;
    assert_eq!(containers(&engine), r#"["m:1:1"]"#);
}

#[tokio::test]
async fn a_model_with_state_has_one_container_and_none_with_old_memory() {
    let mut engine = engine(EngineConfig { keeps_state: true, ..EngineConfig::default() }).await;
    let mut first = Puppet::registered(&engine, "first").await;
    // A second one is not given anything to run, and is left in peace.
    let mut second = Puppet::connect(&engine, "second").await;
    second.register(InputType::Strings).await;
    assert!(!second.beat().await);
    assert_eq!(containers(&engine), r#"["m:1:0"]"#);
    let (outputs, ()) = tokio::join!(ask(&engine, r#"{"input":"x"}"#), async {
        let (id, _) = first.batch().await;
        first.answer(id, &["a"]).await;
    });
    assert_eq!(outputs, ["a"]);
    // Its connection breaks; it comes back as ZeroMQ sockets do, by itself.
    drop(first);
    while containers(&engine) != "[]" {
        tokio::task::yield_now().await;
    }
    let mut back = Puppet::connect(&engine, "first").await;
    back.register(InputType::Strings).await;
    assert!(!back.beat().await);
    assert_eq!(
        (containers(&engine).as_str(), ask(&engine, r#"{"input":"x"}"#).await),
        ("[]", vec!["default".to_owned()])
    );

    engine.restart().await.unwrap();
    deploy(&engine);
    assert_eq!((back.hear().await, second.hear().await), (None, None));
    for old in ["first", ""] {
        let mut back = Puppet::connect(&engine, old).await;
        back.register(InputType::Strings).await;
        assert!(!back.beat().await);
        assert_eq!(containers(&engine), "[]", "{old:?}");
    }
    let _fresh = Puppet::registered(&engine, "fresh").await;
    assert_eq!(containers(&engine), r#"["m:1:0"]"#);
}

#[tokio::test]
async fn a_container_that_falls_silent_is_given_up() {
    let engine = engine(EngineConfig { container_silence_ms_max: 100, ..EngineConfig::default() }).await;
    let mut puppet = Puppet::registered(&engine, "").await;
    let (outputs, ()) = tokio::join!(ask(&engine, r#"{"input":"x"}"#), async {
        puppet.batch().await;
        assert_eq!(puppet.hear().await, None);
    });
    assert_eq!(outputs, ["default"]);
    assert_eq!(containers(&engine), "[]");
}

#[tokio::test]
async fn a_version_that_is_removed_leaves_its_container_unknown() {
    let engine = engine(EngineConfig::default()).await;
    let mut puppet = Puppet::registered(&engine, "").await;
    let body = br#"{"model_name":"m","model_version":"1"}"#;
    engine.change(&Change::parse("delete_versioned_model", body).unwrap().unwrap()).unwrap();
    assert_eq!(ask(&engine, r#"{"input":"x"}"#).await, ["default"]);
    while !puppet.beat().await {}
    puppet.register(InputType::Strings).await;
    assert!(!puppet.beat().await);
}

#[tokio::test]
async fn strangers_are_shown_out_and_reserve_nothing() {
    let config = EngineConfig {
        header_timeout_ms: 100,
        container_message_bytes_max: 1_000,
        ..EngineConfig::default()
    };
    let engine = engine(config).await;
    let address = engine.rpc_address().unwrap();
    for first in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff], b""] {
        let mut stranger = TcpStream::connect(address).await.unwrap();
        stranger.write_all(first).await.unwrap();
        let mut rest = Vec::new();
        soon(stranger.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest.len(), 64);
    }
    let mut greedy = Puppet::registered(&engine, "").await;
    let too_long = vec![Bytes::new(), Bytes::from(vec![0; 1_001])];
    let _ = greedy.outgoing.send(&too_long).await;
    assert_eq!(greedy.hear().await, None);
}
