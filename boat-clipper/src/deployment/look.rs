//! What can be asked about a deployment: Clipper's `get_*` requests, and their answers in its shapes.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::json::{Schema, object};
use super::{Application, Deployment, ModelId, ModelVersion};
use crate::InputType;

/// A question to Clipper's management frontend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// All applications: names, or more.
    AllApplications {
        /// More than names.
        verbose: bool,
    },
    /// One application.
    Application {
        /// Which.
        name: String,
    },
    /// The models of an application.
    LinkedModels {
        /// Which application.
        app_name: String,
    },
    /// All versions of all models: `name:version`, or more.
    AllModels {
        /// More than names and versions.
        verbose: bool,
    },
    /// One version of a model.
    Model(ModelId),
    /// All containers that serve models: `name:version:replica`, or more.
    AllContainers {
        /// More than their names.
        verbose: bool,
    },
    /// One container.
    Container {
        /// Which version of which model.
        id: ModelId,
        /// Which of its containers.
        replica_id: i64,
    },
    /// What the selection policy of an application knows: its default output.
    State {
        /// Which application.
        app_name: String,
        /// Whose state.
        uid: i64,
    },
}

/// A container that serves a model, as Clipper's `get_container` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerView {
    /// `name:version`.
    pub model_id: String,
    /// The model's name.
    pub model_name: String,
    /// The model's version.
    pub model_version: String,
    /// The container's number among those of this version, since the frontend's start.
    pub model_replica_id: u64,
    /// What it takes.
    pub input_type: InputType,
}

/// An application, as Clipper's `get_application` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationView {
    /// The type of its inputs.
    pub input_type: InputType,
    /// What is answered when the model gives nothing in time.
    pub default_output: String,
    /// How long the model may take before that, in microseconds.
    pub latency_slo_micros: i64,
    /// Its name.
    pub name: String,
    /// The models that it is linked with: none, or one.
    pub linked_models: Vec<String>,
}

/// A version of a model, as Clipper's `get_model` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelView {
    /// The model's name.
    pub model_name: String,
    /// The version.
    pub model_version: String,
    /// The type of its inputs.
    pub input_type: InputType,
    /// Words that stand with it; one empty one where there are none.
    pub labels: Vec<String>,
    /// What serves it.
    pub container_name: String,
    /// Where the model's data is.
    pub model_data_path: String,
    /// Whether it is the selected version.
    pub is_current_version: bool,
}

impl Look {
    /// The last part of its path, behind `/admin/`.
    pub fn endpoint(&self) -> &'static str {
        match self {
            Look::AllApplications { .. } => "get_all_applications",
            Look::Application { .. } => "get_application",
            Look::LinkedModels { .. } => "get_linked_models",
            Look::AllModels { .. } => "get_all_models",
            Look::Model(_) => "get_model",
            Look::AllContainers { .. } => "get_all_containers",
            Look::Container { .. } => "get_container",
            Look::State { .. } => "get_state",
        }
    }

    /// The request's body.
    pub fn body(&self) -> String {
        let body = match self {
            Look::AllApplications { verbose }
            | Look::AllModels { verbose }
            | Look::AllContainers { verbose } => json!({ "verbose": verbose }),
            Look::Application { name } => json!({ "name": name }),
            Look::LinkedModels { app_name } => json!({ "app_name": app_name }),
            Look::Model(ModelId { model_name, model_version }) => {
                json!({ "model_name": model_name, "model_version": model_version })
            }
            Look::Container { id: ModelId { model_name, model_version }, replica_id } => json!({
                "model_name": model_name, "model_version": model_version, "replica_id": replica_id
            }),
            Look::State { app_name, uid } => json!({ "app_name": app_name, "uid": uid }),
        };
        body.to_string()
    }

    /// Reads the body of a request to `/admin/{endpoint}`. `None` when there is no such question.
    ///
    /// # Errors
    /// What is wrong with the body, in Clipper's words.
    pub fn parse(endpoint: &str, body: &[u8]) -> Option<Result<Look, String>> {
        let read: fn(&[u8]) -> Result<Look, String> = match endpoint {
            "get_all_applications" => |body| verbose(body).map(|verbose| Look::AllApplications { verbose }),
            "get_all_models" => |body| verbose(body).map(|verbose| Look::AllModels { verbose }),
            "get_all_containers" => |body| verbose(body).map(|verbose| Look::AllContainers { verbose }),
            "get_application" => |body| {
                let fields = object(body, Schema(&[("name", "string")]))?;
                Ok(Look::Application { name: fields.text("name")? })
            },
            "get_linked_models" => |body| {
                let fields = object(body, Schema(&[("app_name", "string")]))?;
                Ok(Look::LinkedModels { app_name: fields.text("app_name")? })
            },
            "get_model" => |body| {
                let schema = Schema(&[("model_name", "string"), ("model_version", "string")]);
                let fields = object(body, schema)?;
                let model_name = fields.text("model_name")?;
                Ok(Look::Model(ModelId { model_name, model_version: fields.text("model_version")? }))
            },
            "get_container" => |body| {
                let schema =
                    Schema(&[("model_name", "string"), ("model_version", "string"), ("replica_id", "int")]);
                let fields = object(body, schema)?;
                let model_name = fields.text("model_name")?;
                let id = ModelId { model_name, model_version: fields.text("model_version")? };
                Ok(Look::Container { id, replica_id: fields.integer("replica_id")? })
            },
            "get_state" => |body| {
                let fields = object(body, Schema(&[("app_name", "string"), ("uid", "int")]))?;
                Ok(Look::State { app_name: fields.text("app_name")?, uid: fields.integer("uid")? })
            },
            _ => return None,
        };
        Some(read(body))
    }
}

fn verbose(body: &[u8]) -> Result<bool, String> {
    object(body, Schema(&[("verbose", "bool")]))?.boolean("verbose")
}

impl Deployment {
    /// Answers a question, given the `containers` that serve: JSON, but for the state of an application.
    ///
    /// # Errors
    /// Why it cannot be answered, in Clipper's words.
    pub fn look(&self, look: &Look, containers: &[ContainerView]) -> Result<String, String> {
        Ok(match look {
            Look::AllApplications { verbose: false } => {
                to_json(&self.applications().map(|application| &application.name).collect::<Vec<_>>())
            }
            Look::AllApplications { verbose: true } => {
                to_json(&self.applications().map(|application| self.show(application)).collect::<Vec<_>>())
            }
            Look::Application { name } => {
                self.application(name).map_or("{}".to_owned(), |found| to_json(&self.show(found)))
            }
            Look::LinkedModels { app_name } => match self.application(app_name) {
                Some(_) => to_json(&self.linked(app_name)),
                None => return Err(format!("No application with name '{app_name}' exists.")),
            },
            Look::AllModels { verbose: false } => {
                to_json(&self.models().map(|model| model.id().to_string()).collect::<Vec<_>>())
            }
            Look::AllModels { verbose: true } => {
                to_json(&self.models().map(|model| self.show_model(model)).collect::<Vec<_>>())
            }
            Look::Model(ModelId { model_name, model_version }) => self
                .model(model_name, model_version)
                .map_or("{}".to_owned(), |model| to_json(&self.show_model(model))),
            Look::AllContainers { verbose: true } => to_json(&containers),
            Look::AllContainers { verbose: false } => to_json(
                &containers
                    .iter()
                    .map(|container| format!("{}:{}", container.model_id, container.model_replica_id))
                    .collect::<Vec<_>>(),
            ),
            Look::Container { id, replica_id } => containers
                .iter()
                .find(|container| {
                    container.model_name == id.model_name
                        && container.model_version == id.model_version
                        && i64::try_from(container.model_replica_id) == Ok(*replica_id)
                })
                .map_or("{}".to_owned(), to_json),
            Look::State { app_name, uid: _ } => self
                .application(app_name)
                .map(|application| application.default_output.clone())
                .unwrap_or_default(),
        })
    }

    fn show(&self, application: &Application) -> ApplicationView {
        ApplicationView {
            input_type: application.input_type,
            default_output: application.default_output.clone(),
            latency_slo_micros: application.latency_slo_micros,
            name: application.name.clone(),
            linked_models: self.linked(&application.name).to_vec(),
        }
    }

    fn show_model(&self, model: &ModelVersion) -> ModelView {
        // Clipper keeps labels as one text with commas, so none reads back as one empty label.
        let labels = match model.labels.as_slice() {
            [] => vec![String::new()],
            labels => labels.to_vec(),
        };
        ModelView {
            model_name: model.model_name.clone(),
            model_version: model.model_version.clone(),
            input_type: model.input_type,
            labels,
            container_name: model.container_name.clone(),
            model_data_path: model.model_data_path.clone(),
            is_current_version: self.selected(&model.model_name) == Some(&model.model_version),
        }
    }
}

fn to_json(value: &impl Serialize) -> String {
    // Strings, numbers and lists of them, written to memory: there is nothing that could fail.
    serde_json::to_string(value).unwrap_or_default()
}
