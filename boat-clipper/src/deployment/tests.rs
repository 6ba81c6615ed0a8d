use super::*;
use crate::InputType;

fn application(name: &str, input_type: InputType) -> Change {
    let name = name.to_owned();
    let default_output = "-1.0".to_owned();
    Change::AddApp(Application { name, input_type, default_output, latency_slo_micros: 1_000 })
}

fn model(name: &str, version: &str, input_type: InputType) -> ModelVersion {
    ModelVersion {
        model_name: name.to_owned(),
        model_version: version.to_owned(),
        labels: Vec::new(),
        input_type,
        container_name: "image".to_owned(),
        model_data_path: "DEPRECATED".to_owned(),
        batch_size: 64,
    }
}

fn id(name: &str, version: &str) -> ModelId {
    ModelId { model_name: name.to_owned(), model_version: version.to_owned() }
}

fn links(application: &str, models: &[&str]) -> Links {
    let model_names = models.iter().map(|&name| name.to_owned()).collect();
    Links { app_name: application.to_owned(), model_names }
}

/// An application `a` linked with the versions 1 and 2 of `m`.
fn linked() -> Deployment {
    let mut deployment = Deployment::new();
    for change in [
        application("a", InputType::Strings),
        Change::AddModel(model("m", "1", InputType::Strings)),
        Change::AddModel(model("m", "2", InputType::Strings)),
        Change::AddModelLinks(links("a", &["m"])),
    ] {
        deployment.apply(&change).unwrap();
    }
    deployment
}

#[test]
fn every_refusal_is_clippers_and_changes_nothing() {
    let mut deployment = linked();
    deployment.apply(&application("d", InputType::Doubles)).unwrap();
    deployment.apply(&Change::AddModel(model("x", "1", InputType::Doubles))).unwrap();
    deployment.apply(&Change::AddModel(model("s", "1", InputType::Strings))).unwrap();
    let with = |change: fn(&mut ModelVersion)| {
        let mut model = model("n", "1", InputType::Strings);
        change(&mut model);
        Change::AddModel(model)
    };
    for (change, why) in [
        (application("a", InputType::Bytes), "application 'a' already exists"),
        (Change::DeleteApp { name: "b".to_owned() }, "Application 'b' does not exist"),
        (
            Change::AddModel(model("m", "1", InputType::Strings)),
            "model with name 'm' and version '1' already exists",
        ),
        (
            with(|model| model.batch_size = 0),
            "The batch size must be positive or DEFAULT_BATCH_SIZE, which is -1",
        ),
        (
            with(|model| model.model_name = "a:b".to_owned()),
            "Invalid model name supplied: a:b. Contains one of: ',', ':'",
        ),
        (
            with(|model| model.model_version = "a,b".to_owned()),
            "Invalid model version supplied: a,b. Contains one of: ',', ':'",
        ),
        (
            with(|model| model.labels.push(":".to_owned())),
            "Invalid label supplied: :. Contains one of: ',', ':'",
        ),
        (
            Change::AddModel(model("m", "3", InputType::Doubles)),
            "Model with name 'm' is already linked to app 'a' using input type 'strings'. The input type you provided \
             for a new version of the model, 'doubles', is not compatible.",
        ),
        (Change::SetModelVersion(id("y", "1")), "Cannot set version for nonexistent model 'y'"),
        (
            Change::SetModelVersion(id("m", "9")),
            "Cannot set non-existent version '9' for model with name 'm'",
        ),
        (Change::DeleteVersionedModel(id("m", "9")), "model with name 'm' and version '9' does not exist"),
        (Change::AddModelLinks(links("b", &["m"])), "No app with name 'b' exists."),
        (Change::AddModelLinks(links("d", &["y"])), "No model with name 'y' exists."),
        (
            Change::AddModelLinks(links("d", &["m"])),
            "Model with name 'm' has incompatible input_type 'strings'. Requested app to link to has input_type \
             'doubles'.",
        ),
        (
            Change::AddModelLinks(links("d", &[])),
            "Please provide the name of the model that you want to link to the application 'd'",
        ),
        (
            Change::AddModelLinks(links("d", &["x", "y"])),
            "Applications must be linked with at most one model. Attempted to add links to 2 models.",
        ),
        (Change::AddModelLinks(links("a", &["m"])), "The model with name 'm' is already linked to 'a'"),
        (Change::AddModelLinks(links("a", &["s"])), "A model with name m is already linked to 'a'."),
        (Change::DeleteModelLinks(links("b", &["m"])), "No app with name b exists."),
        (
            Change::DeleteModelLinks(links("d", &["x"])),
            "Cannot remove nonexistent link between app d and model x",
        ),
    ] {
        let before = deployment.clone();
        assert_eq!(deployment.apply(&change), Err(why.to_owned()));
        assert_eq!(deployment, before);
    }
}

#[test]
fn the_selected_version_serves() {
    let mut deployment = linked();
    let serving = |deployment: &Deployment| deployment.serving("a").map(|model| model.model_version.clone());
    assert_eq!(serving(&deployment).as_deref(), Some("2"));
    let said = deployment.apply(&Change::SetModelVersion(id("m", "1")));
    assert_eq!(said, Ok("Successfully set model with name 'm' to version '1'".to_owned()));
    assert_eq!(serving(&deployment).as_deref(), Some("1"));
    deployment.apply(&Change::DeleteVersionedModel(id("m", "1"))).unwrap();
    assert_eq!((serving(&deployment), deployment.selected("m")), (None, Some("1")));
    deployment.apply(&Change::SetModelVersion(id("m", "2"))).unwrap();
    assert_eq!(serving(&deployment).as_deref(), Some("2"));
    assert_eq!(deployment.apply(&Change::DeleteModelLinks(links("a", &["m"]))), Ok("Success!".to_owned()));
    assert_eq!(serving(&deployment), None);
}

#[test]
fn links_outlive_their_application() {
    let mut deployment = linked();
    deployment.apply(&Change::DeleteApp { name: "a".to_owned() }).unwrap();
    assert!(deployment.application("a").is_none());
    deployment.apply(&application("a", InputType::Strings)).unwrap();
    assert_eq!(deployment.linked("a"), ["m"]);
}

#[test]
fn their_number_is_bounded() {
    let mut deployment = Deployment::new();
    for n in 0..APPLICATIONS_MAX {
        deployment.apply(&application(&n.to_string(), InputType::Strings)).unwrap();
    }
    assert!(deployment.apply(&application("x", InputType::Strings)).unwrap_err().contains("no more"));
    for n in 0..MODEL_VERSIONS_MAX {
        deployment.apply(&Change::AddModel(model("m", &n.to_string(), InputType::Strings))).unwrap();
    }
    let one_more = Change::AddModel(model("n", "1", InputType::Strings));
    assert!(deployment.apply(&one_more).unwrap_err().contains("no more"));
}

#[test]
fn answers_have_clippers_shapes() {
    let deployment = linked();
    let container = ContainerView {
        model_id: "m:1".to_owned(),
        model_name: "m".to_owned(),
        model_version: "1".to_owned(),
        model_replica_id: 0,
        input_type: InputType::Strings,
    };
    let app = r#"{"input_type":"strings","default_output":"-1.0","latency_slo_micros":1000,"name":"a","linked_models":["m"]}"#;
    let shown = |version: &str, is_current: bool| {
        format!(
            "{{\"model_name\":\"m\",\"model_version\":\"{version}\",\"input_type\":\"strings\",\"labels\":[\"\"],\
             \"container_name\":\"image\",\"model_data_path\":\"DEPRECATED\",\"is_current_version\":{is_current}}}"
        )
    };
    let replica = r#"{"model_id":"m:1","model_name":"m","model_version":"1","model_replica_id":0,"input_type":"strings"}"#;
    for (endpoint, body, answer) in [
        ("get_all_applications", r#"{"verbose":false}"#, r#"["a"]"#.to_owned()),
        ("get_all_applications", r#"{"verbose":true}"#, format!("[{app}]")),
        ("get_application", r#"{"name":"a"}"#, app.to_owned()),
        ("get_application", r#"{"name":"b"}"#, "{}".to_owned()),
        ("get_linked_models", r#"{"app_name":"a"}"#, r#"["m"]"#.to_owned()),
        ("get_all_models", r#"{"verbose":false}"#, r#"["m:1","m:2"]"#.to_owned()),
        ("get_all_models", r#"{"verbose":true}"#, format!("[{},{}]", shown("1", false), shown("2", true))),
        ("get_model", r#"{"model_name":"m","model_version":"2"}"#, shown("2", true)),
        ("get_model", r#"{"model_name":"m","model_version":"3"}"#, "{}".to_owned()),
        ("get_all_containers", r#"{"verbose":false}"#, r#"["m:1:0"]"#.to_owned()),
        ("get_all_containers", r#"{"verbose":true}"#, format!("[{replica}]")),
        ("get_container", r#"{"model_name":"m","model_version":"1","replica_id":0}"#, replica.to_owned()),
        ("get_container", r#"{"model_name":"m","model_version":"1","replica_id":1}"#, "{}".to_owned()),
        ("get_state", r#"{"app_name":"a","uid":0}"#, "-1.0".to_owned()),
        ("get_state", r#"{"app_name":"b","uid":0}"#, String::new()),
    ] {
        let look = Look::parse(endpoint, body.as_bytes()).unwrap().unwrap();
        assert_eq!(look.endpoint(), endpoint);
        assert_eq!(Look::parse(endpoint, look.body().as_bytes()), Some(Ok(look.clone())));
        assert_eq!(deployment.look(&look, std::slice::from_ref(&container)), Ok(answer), "{body}");
    }
    let unknown = deployment.look(&Look::LinkedModels { app_name: "b".to_owned() }, &[]);
    assert_eq!(unknown, Err("No application with name 'b' exists.".to_owned()));
    let error = Look::parse("get_all_models", b"{\"verbose\":\"x\"}").unwrap().unwrap_err();
    assert!(error.contains("expected type bool but found type String"), "{error}");
    assert_eq!(Look::parse("metrics", b"{}"), None);
}
