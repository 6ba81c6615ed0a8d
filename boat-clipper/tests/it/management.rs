//! The management client against an engine, endpoint by endpoint, and against what is none.

use boat_clipper::{
    Application, Change, Engine, EngineConfig, InputType, ManagementClient, ManagementError, ModelId,
    ModelVersion,
};

use crate::fake::{Act, Fake};

fn id(model_name: &str, model_version: &str) -> ModelId {
    ModelId { model_name: model_name.to_owned(), model_version: model_version.to_owned() }
}

fn model(version: &str) -> ModelVersion {
    ModelVersion {
        model_name: "m".to_owned(),
        model_version: version.to_owned(),
        labels: vec!["a".to_owned(), "b".to_owned()],
        input_type: InputType::Doubles,
        container_name: "boat/echo".to_owned(),
        model_data_path: "DEPRECATED".to_owned(),
        batch_size: 8,
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, ManagementError>) -> String {
    match result {
        Err(ManagementError::Refused(why)) => why,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn every_endpoint_has_its_call() {
    let any = "127.0.0.1:0".parse().unwrap();
    let config = EngineConfig { management_address: Some(any), ..EngineConfig::empty() };
    let engine = Engine::start(any, config).await.unwrap();
    let mut client = ManagementClient::new(engine.management_address().unwrap());
    client.ping().await.unwrap();
    let application = Application {
        name: "a b\"c".to_owned(),
        input_type: InputType::Doubles,
        default_output: "-1.0".to_owned(),
        latency_slo_micros: 1_000,
    };
    client.add_app(application.clone()).await.unwrap();
    assert!(refused(client.add_app(application.clone()).await).contains("already exists"));
    client.add_model(model("1")).await.unwrap();
    client.add_model(model("2")).await.unwrap();
    assert!(refused(client.add_model(model("2")).await).contains("already exists"));
    client.set_model_version(id("m", "1")).await.unwrap();
    assert!(refused(client.set_model_version(id("m", "3")).await).contains("non-existent version '3'"));
    client.add_model_link(&application.name, "m").await.unwrap();
    assert!(refused(client.add_model_link(&application.name, "m").await).contains("already linked"));

    assert_eq!(client.application_names().await.unwrap(), [application.name.as_str()]);
    let shown = client.application(&application.name).await.unwrap().unwrap();
    assert_eq!((shown.default_output.as_str(), &shown.linked_models[..]), ("-1.0", &["m".to_owned()][..]));
    assert_eq!(client.applications().await.unwrap(), [shown]);
    assert_eq!(client.application("x").await.unwrap(), None);
    assert_eq!(client.linked_models(&application.name).await.unwrap(), ["m"]);
    assert!(refused(client.linked_models("x").await).contains("No application"));
    assert_eq!(client.model_names().await.unwrap(), ["m:1", "m:2"]);
    let shown = client.model(id("m", "1")).await.unwrap().unwrap();
    assert!(shown.is_current_version && shown.labels == ["a", "b"]);
    assert_eq!(client.models().await.unwrap().len(), 2);
    assert_eq!(client.model(id("m", "3")).await.unwrap(), None);
    assert_eq!(client.container_names().await.unwrap(), ["m:1:0", "m:2:0"]);
    let container = client.container(id("m", "2"), 0).await.unwrap().unwrap();
    assert_eq!(container.input_type, InputType::Doubles);
    assert_eq!(client.containers().await.unwrap().get(1), Some(&container));
    assert_eq!(client.container(id("m", "2"), 1).await.unwrap(), None);
    assert_eq!(client.state(&application.name, 0).await.unwrap(), "-1.0");
    assert_eq!(client.state("x", 0).await.unwrap(), "");

    client.delete_model_link(&application.name, "m").await.unwrap();
    assert!(refused(client.delete_model_link(&application.name, "m").await).contains("nonexistent link"));
    client.delete_versioned_model(id("m", "2")).await.unwrap();
    assert!(refused(client.delete_versioned_model(id("m", "2")).await).contains("does not exist"));
    client.delete_app(&application.name).await.unwrap();
    assert!(refused(client.delete_app(&application.name).await).contains("does not exist"));
}

#[tokio::test]
async fn what_is_no_management_frontend_is_told_as_what_it_is() {
    let mut gone = {
        let fake = Fake::always(Act::Close).await;
        let mut client = ManagementClient::new(fake.address);
        assert!(matches!(client.ping().await, Err(ManagementError::Unknown(_))));
        client
    };
    // Its listener ends with it, a moment later.
    while !matches!(gone.ping().await, Err(ManagementError::NotSent(_))) {
        tokio::task::yield_now().await;
    }
    for (act, is_right) in [
        (Act::Answer(200, b"hello".to_vec()), "hello"),
        (Act::Answer(500, b"oh".to_vec()), "status 500: oh"),
        (Act::Answer(200, vec![b'x'; 10_000]), "xxx"),
    ] {
        let fake = Fake::always(act).await;
        let mut client = ManagementClient::new(fake.address);
        for error in [
            client.ping().await.unwrap_err(),
            client.models().await.unwrap_err(),
            client.application("a").await.unwrap_err(),
        ] {
            assert!(matches!(error, ManagementError::Unexpected { .. }), "{error:?}");
            assert!(error.to_string().contains(is_right) && error.to_string().len() < 600, "{error}");
        }
    }
    let fake = Fake::always(Act::Answer(400, b"no".to_vec())).await;
    let change = Change::DeleteApp { name: "a".to_owned() };
    assert_eq!(refused(ManagementClient::new(fake.address).change(&change).await), "no");
}
