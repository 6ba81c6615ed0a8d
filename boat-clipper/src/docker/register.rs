//! The application and its model, registered with Clipper's management frontend.

use std::net::SocketAddr;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::DockerError;
use super::plan::Served;
use crate::ClipperConfig;
use crate::query::connection::{Connection, ExchangeError};

/// How much of an answer stands in an error.
const REASON_CHARS_MAX: usize = 300;

/// The way to a management frontend.
pub(crate) struct Management {
    connection: Connection,
}

impl Management {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Management { connection: Connection::new(address, &ClipperConfig::default()) }
    }

    /// Whether it answers.
    pub(crate) async fn ping(&mut self) -> Result<(), String> {
        let asked = self.connection.exchange(Method::GET, "/admin/ping", bytes::Bytes::new()).await;
        match asked {
            Ok((StatusCode::OK, _)) => Ok(()),
            Ok((status, _)) => Err(format!("GET /admin/ping gave status {status}")),
            Err(ExchangeError::NotSent(why) | ExchangeError::Unknown(why)) => Err(why),
        }
    }

    /// Sees to it that the application, the model and the link between them are there. What is there already is looked at,
    /// not sent again: Clipper refuses to add anything twice.
    pub(crate) async fn register(&mut self, served: &Served, image: &str) -> Result<(), DockerError> {
        let Served { application, input_type, default_output, latency_slo_micros, .. } = served;
        let Served { model, version, batch_size, .. } = served;
        let known =
            self.ask("get_application", "ask for the application", json!({ "name": application })).await?;
        if known.get("name").is_none() {
            let body = json!({
                "name": application,
                "input_type": input_type,
                "default_output": default_output,
                "latency_slo_micros": latency_slo_micros,
            });
            self.tell("add_app", "add the application", body).await?;
        }
        let name = json!({ "model_name": model, "model_version": version });
        let known = self.ask("get_model", "ask for the model", name).await?;
        if known.get("model_name").is_none() {
            let body = json!({
                "model_name": model,
                "model_version": version,
                "labels": [],
                "input_type": input_type,
                "container_name": image,
                "model_data_path": "DEPRECATED",
                "batch_size": batch_size,
            });
            self.tell("add_model", "add the model", body).await?;
        }
        let name = json!({ "app_name": application });
        let linked = self.ask("get_linked_models", "ask for the linked models", name).await?;
        let is_linked = |linked: &Value| linked.as_str() == Some(model);
        if !linked.as_array().is_some_and(|linked| linked.iter().any(is_linked)) {
            let body = json!({ "app_name": application, "model_names": [model] });
            self.tell("add_model_links", "link the model", body).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, path: &str, doing: &'static str, body: Value) -> Result<String, DockerError> {
        let address = self.connection.address();
        let failed = |reason: String| DockerError::Management { address, doing, reason };
        let path = format!("/admin/{path}");
        let asked = self.connection.exchange(Method::POST, &path, body.to_string().into()).await;
        let (status, answer) = asked.map_err(|error| {
            let (ExchangeError::NotSent(why) | ExchangeError::Unknown(why)) = error;
            failed(why)
        })?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let reason: String = answer.chars().take(REASON_CHARS_MAX).collect();
        Err(failed(format!("status {status}: {reason}")))
    }

    async fn ask(&mut self, path: &str, doing: &'static str, body: Value) -> Result<Value, DockerError> {
        let answer = self.tell(path, doing, body).await?;
        let address = self.connection.address();
        serde_json::from_str(&answer).map_err(|error| DockerError::Management {
            address,
            doing,
            reason: format!("its answer cannot be read: {error}"),
        })
    }
}
