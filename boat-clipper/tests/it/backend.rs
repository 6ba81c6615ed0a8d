//! Backends as configured.

use boat_clipper::{Backend, BackendConfig, BackendError, BackendKind, InputType, LocalPredictor, ModelKind};
use boat_core::{NodeId, Predictor, RequestKind, StateKind};
use proptest::prelude::*;

use crate::{calls, predict};

fn config(kind: BackendKind, model: ModelKind) -> BackendConfig {
    let query_address = "127.0.0.1:0".parse().unwrap();
    BackendConfig { kind, model, query_address, ..BackendConfig::default() }
}

/// Bodies as clients send them: good, bad, single, in batches, with outputs that are JSON themselves.
fn body() -> impl Strategy<Value = (RequestKind, String)> {
    let text = prop_oneof![
        any::<String>(),
        "[ab]",
        "-?[0-9]{1,25}(\\.[0-9]{1,5})?(e[0-9]{1,4})?",
        "\\[[0-9, ]{0,6}\\]",
        Just("{ \"a\" : true }\n".to_owned()),
    ];
    let single = text.clone().prop_map(|text| serde_json::json!({ "input": text }).to_string());
    let batch = proptest::collection::vec(text, 0..6);
    let batch = batch.prop_map(|texts| serde_json::json!({ "input_batch": texts }).to_string());
    let predict = Just(RequestKind::Predict);
    prop_oneof![
        4 => (predict, single),
        2 => (predict, batch),
        1 => (predict, any::<String>()),
        1 => (Just(RequestKind::Feedback), "[0-9]{1,3}|\\{\"label\" ?: ?1.0\\}|x"),
        1 => (Just(RequestKind::Configure), Just("{}".to_owned())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn engine_and_local_models_agree_to_the_byte(bodies in proptest::collection::vec(body(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let texts: Vec<&str> = bodies.iter().map(|(_, body)| body.as_str()).collect();
            let mut calls = calls(&texts);
            for (call, (kind, _)) in calls.iter_mut().zip(&bodies) {
                call.kind = *kind;
            }
            for model in [ModelKind::Echo, ModelKind::HashChain] {
                let mut engine = Backend::from_config(config(BackendKind::Engine, model)).await.unwrap();
                let mut local = Backend::from_config(config(BackendKind::None, model)).await.unwrap();
                engine.reset().await.unwrap();
                local.reset().await.unwrap();
                let expected = predict(&mut local, &calls).await;
                assert_eq!(expected.1, Ok(()));
                assert_eq!(predict(&mut engine, &calls).await, expected);
            }
        });
    }

    #[test]
    fn no_body_whatever_makes_the_door_panic(body in proptest::collection::vec(any::<u8>(), 0..64)) {
        for input_type in [InputType::Bytes, InputType::Integers, InputType::Doubles, InputType::Strings] {
            let model = ModelKind::Echo.factory();
            let check = LocalPredictor::new(NodeId(0), input_type, StateKind::Replay, model).check();
            assert!(check(RequestKind::Predict, &body).is_err() || body.starts_with(b"{"));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_had_is_told_with_its_remedy() {
    let mut without = config(BackendKind::Docker, ModelKind::Echo);
    without.docker.socket = "/nowhere/docker.sock".into();
    let docker = Backend::from_config(without).await.unwrap_err();
    assert!(docker.to_string().contains("--backend engine"), "{docker}");
    let first = Backend::from_config(config(BackendKind::Engine, ModelKind::Echo)).await.unwrap();
    let query_address = first.query_address().unwrap();
    let taken = BackendConfig { query_address, ..BackendConfig::default() };
    let taken = Backend::from_config(taken).await.unwrap_err();
    assert!(matches!(taken, BackendError::Engine(_)));
    assert!(taken.to_string().contains(&format!("{query_address} is in use")), "{taken}");
    let zero = BackendConfig { call_timeout_ms: 0, ..config(BackendKind::Engine, ModelKind::Echo) };
    assert!(matches!(Backend::from_config(zero).await, Err(BackendError::Config(_))));
}

#[tokio::test]
async fn state_is_replayed_unless_declared_away() {
    for kind in [BackendKind::Engine, BackendKind::None] {
        let backend = Backend::from_config(config(kind, ModelKind::Echo)).await.unwrap();
        assert_eq!(backend.state_kind(), StateKind::Replay);
        let stateless = BackendConfig { stateless: true, ..config(kind, ModelKind::Echo) };
        assert_eq!(Backend::from_config(stateless).await.unwrap().state_kind(), StateKind::Stateless);
        // Where the deployment is the log's, it is state.
        let replicated = BackendConfig { replicated: true, ..config(BackendKind::Engine, ModelKind::Echo) };
        assert_eq!(Backend::from_config(replicated.clone()).await.unwrap().state_kind(), StateKind::Replay);
        let stateless = BackendConfig { stateless: true, ..replicated };
        assert_eq!(Backend::from_config(stateless).await.unwrap().state_kind(), StateKind::Snapshot);
    }
}

#[tokio::test]
async fn only_the_models_in_process_are_quick() {
    for model in [ModelKind::Echo, ModelKind::HashChain] {
        for kind in [BackendKind::Engine, BackendKind::None] {
            let backend = Backend::from_config(config(kind, model)).await.unwrap();
            assert_eq!(backend.is_quick(), kind == BackendKind::None, "{kind} {model}");
        }
    }
}

#[test]
fn configurations_are_read_from_files() {
    let json = r#"{"kind":"none","model":"hash-chain","query_address":"127.0.0.1:1338"}"#;
    let read: BackendConfig = serde_json::from_str(json).unwrap();
    assert_eq!(
        (read.kind, read.model, read.query_address.port()),
        (BackendKind::None, ModelKind::HashChain, 1338)
    );
    assert_eq!(serde_json::from_str::<BackendConfig>("{}").unwrap(), BackendConfig::default());
    assert!(serde_json::from_str::<BackendConfig>(r#"{"modell":"echo"}"#).is_err());
    for kind in [BackendKind::Engine, BackendKind::Docker, BackendKind::None] {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
}
