//! What can be changed about a deployment: Clipper's management requests, in its own JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::json::{Schema, object};
use crate::InputType;

/// An application, as in `/admin/add_app`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// The name: its path is `/{name}/predict`.
    pub name: String,
    /// The type of its inputs.
    pub input_type: InputType,
    /// What is answered when the model gives nothing in time.
    pub default_output: String,
    /// How long the model may take before the default is answered, in microseconds.
    pub latency_slo_micros: i64,
}

/// A version of a model, as in `/admin/add_model`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// The model's name.
    pub model_name: String,
    /// The version.
    pub model_version: String,
    /// Words that stand with it.
    pub labels: Vec<String>,
    /// The type of its inputs.
    pub input_type: InputType,
    /// What serves it: an image, or one of an engine's built-in models.
    pub container_name: String,
    /// Where the model's data is, for those who want to know.
    pub model_data_path: String,
    /// How many inputs a container gets at once, at most; -1 leaves it to the frontend. A model with state wants a number of
    /// its own: at -1 Clipper pads batches with inputs that nobody sent.
    pub batch_size: i32,
}

/// A version of a model, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModelId {
    /// The model's name.
    pub model_name: String,
    /// The version.
    pub model_version: String,
}

/// Which models an application is linked with, as in `/admin/add_model_links`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// The application.
    pub app_name: String,
    /// The models. Clipper accepts exactly one.
    pub model_names: Vec<String>,
}

/// One change of a deployment: a request to Clipper's management frontend.
///
/// ```
/// use boat_clipper::Change;
///
/// let change = Change::parse("set_model_version", br#"{"model_name":"m","model_version":"2"}"#).unwrap().unwrap();
/// assert_eq!(change.endpoint(), "set_model_version");
/// assert_eq!(change.body(), r#"{"model_name":"m","model_version":"2"}"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Adds an application.
    AddApp(Application),
    /// Removes one.
    DeleteApp {
        /// Which.
        name: String,
    },
    /// Adds a version of a model, and selects it.
    AddModel(ModelVersion),
    /// Selects a version of a model.
    SetModelVersion(ModelId),
    /// Removes a version of a model.
    DeleteVersionedModel(ModelId),
    /// Links an application with a model.
    AddModelLinks(Links),
    /// Takes such a link away.
    DeleteModelLinks(Links),
}

impl fmt::Display for ModelId {
    /// `name:version`, as Clipper writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.model_name, self.model_version)
    }
}

impl ModelVersion {
    /// Name and version.
    pub fn id(&self) -> ModelId {
        ModelId { model_name: self.model_name.clone(), model_version: self.model_version.clone() }
    }
}

impl Change {
    /// The last part of its path, behind `/admin/`.
    pub fn endpoint(&self) -> &'static str {
        match self {
            Change::AddApp(_) => "add_app",
            Change::DeleteApp { .. } => "delete_app",
            Change::AddModel(_) => "add_model",
            Change::SetModelVersion(_) => "set_model_version",
            Change::DeleteVersionedModel(_) => "delete_versioned_model",
            Change::AddModelLinks(_) => "add_model_links",
            Change::DeleteModelLinks(_) => "delete_model_links",
        }
    }

    /// The request's body.
    pub fn body(&self) -> String {
        let body = match self {
            Change::AddApp(application) => serde_json::to_string(application),
            Change::DeleteApp { name } => serde_json::to_string(&serde_json::json!({ "name": name })),
            Change::AddModel(model) => serde_json::to_string(model),
            Change::SetModelVersion(id) | Change::DeleteVersionedModel(id) => serde_json::to_string(id),
            Change::AddModelLinks(links) | Change::DeleteModelLinks(links) => serde_json::to_string(links),
        };
        // Strings, numbers and lists of them, written to memory: there is nothing that could fail.
        body.unwrap_or_default()
    }

    /// Reads the body of a request to `/admin/{endpoint}`. `None` when that endpoint changes nothing.
    ///
    /// # Errors
    /// What is wrong with the body, in Clipper's words.
    pub fn parse(endpoint: &str, body: &[u8]) -> Option<Result<Change, String>> {
        let read: fn(&[u8]) -> Result<Change, String> = match endpoint {
            "add_app" => add_app,
            "delete_app" => |body| {
                let fields = object(body, Schema(&[("name", "string")]))?;
                Ok(Change::DeleteApp { name: fields.text("name")? })
            },
            "add_model" => add_model,
            "set_model_version" => |body| model_id(body).map(Change::SetModelVersion),
            "delete_versioned_model" => |body| model_id(body).map(Change::DeleteVersionedModel),
            "add_model_links" => |body| links(body).map(Change::AddModelLinks),
            "delete_model_links" => |body| links(body).map(Change::DeleteModelLinks),
            _ => return None,
        };
        Some(read(body))
    }
}

fn add_app(body: &[u8]) -> Result<Change, String> {
    let schema = Schema(&[
        ("name", "string"),
        ("input_type", "string"),
        ("default_output", "string"),
        ("latency_slo_micros", "int"),
    ]);
    let fields = object(body, schema)?;
    Ok(Change::AddApp(Application {
        name: fields.text("name")?,
        input_type: fields.input_type("input_type")?,
        default_output: fields.text("default_output")?,
        latency_slo_micros: fields.integer("latency_slo_micros")?,
    }))
}

fn add_model(body: &[u8]) -> Result<Change, String> {
    let schema = Schema(&[
        ("model_name", "string"),
        ("model_version", "string"),
        ("labels", "[string]"),
        ("input_type", "string"),
        ("container_name", "string"),
        ("model_data_path", "string"),
        ("batch_size", "int"),
    ]);
    let fields = object(body, schema)?;
    Ok(Change::AddModel(ModelVersion {
        model_name: fields.text("model_name")?,
        model_version: fields.text("model_version")?,
        labels: fields.texts("labels")?,
        input_type: fields.input_type("input_type")?,
        container_name: fields.text("container_name")?,
        model_data_path: fields.text("model_data_path")?,
        batch_size: fields.integer("batch_size")?,
    }))
}

fn model_id(body: &[u8]) -> Result<ModelId, String> {
    let fields = object(body, Schema(&[("model_name", "string"), ("model_version", "string")]))?;
    Ok(ModelId { model_name: fields.text("model_name")?, model_version: fields.text("model_version")? })
}

fn links(body: &[u8]) -> Result<Links, String> {
    let fields = object(body, Schema(&[("app_name", "string"), ("model_names", "[string]")]))?;
    Ok(Links { app_name: fields.text("app_name")?, model_names: fields.texts("model_names")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_read_back_from_its_body() {
        let model = ModelVersion {
            model_name: "m".to_owned(),
            model_version: "1".to_owned(),
            labels: vec!["a".to_owned()],
            input_type: InputType::Doubles,
            container_name: "image".to_owned(),
            model_data_path: String::new(),
            batch_size: -1,
        };
        let links = Links { app_name: "a".to_owned(), model_names: vec!["m".to_owned()] };
        let application = Application {
            name: "a\"b".to_owned(),
            input_type: InputType::Strings,
            default_output: "-1.0".to_owned(),
            latency_slo_micros: -5,
        };
        for change in [
            Change::AddApp(application),
            Change::DeleteApp { name: "a".to_owned() },
            Change::SetModelVersion(model.id()),
            Change::DeleteVersionedModel(model.id()),
            Change::AddModel(model),
            Change::AddModelLinks(links.clone()),
            Change::DeleteModelLinks(links),
        ] {
            assert_eq!(Change::parse(change.endpoint(), change.body().as_bytes()), Some(Ok(change.clone())));
            let json = serde_json::to_string(&change).unwrap();
            assert!(json.starts_with(&format!("{{\"{}\":{{", change.endpoint())), "{json}");
            assert_eq!(serde_json::from_str::<Change>(&json).unwrap(), change);
        }
        assert_eq!(Change::parse("get_all_models", b"{}"), None);
    }

    #[test]
    fn what_is_wrong_is_said_as_clipper_says_it() {
        let error = |endpoint, body: &str| Change::parse(endpoint, body.as_bytes()).unwrap().unwrap_err();
        for (endpoint, body, start) in [
            (
                "delete_app",
                "{}",
                "Error parsing JSON: JSON object does not have required key: name. Expected",
            ),
            (
                "delete_app",
                r#"{"name":1}"#,
                "Error parsing JSON: Type mismatch! JSON key name expected type Stringbut found type Number. E",
            ),
            ("delete_app", "[1]", "Error parsing JSON: Can only get key-value pair from an object. Expected"),
            ("delete_app", "", "Error parsing JSON: EOF while parsing"),
            (
                "add_app",
                r#"{"name":"a","input_type":"text","default_output":"","latency_slo_micros":1}"#,
                "Error parsing JSON: no input type is called \"text\"",
            ),
            (
                "add_app",
                r#"{"name":"a","input_type":"s","default_output":"","latency_slo_micros":1.5}"#,
                "Error parsing JSON: Type mismatch! JSON key latency_slo_micros expected type int",
            ),
            (
                "add_model_links",
                r#"{"app_name":"a","model_names":[1]}"#,
                "Error parsing JSON: Array input of",
            ),
        ] {
            let error = error(endpoint, body);
            assert!(error.starts_with(start), "{error}");
            assert!(error.contains("Expected JSON schema: {"), "{error}");
        }
    }
}
