//! The client of a management frontend, Clipper's or an engine's.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;

use crate::ClipperConfig;
use crate::deployment::{
    Application, ApplicationView, Change, ContainerView, Links, Look, ModelId, ModelVersion, ModelView,
};
use crate::query::connection::{Connection, ExchangeError};

/// How much of an unexpected answer stands in an error.
const REASON_CHARS_MAX: usize = 300;

/// Why a management request did not give what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManagementError {
    /// The request did not leave: provably nothing happened.
    #[error("{0}")]
    NotSent(String),
    /// Nobody knows whether it was carried out. Look before trying again: nothing can be added twice.
    #[error("nobody knows whether it was carried out: {0}")]
    Unknown(String),
    /// The frontend refused it (status 400), and says why. Nothing changed.
    #[error("refused: {0}")]
    Refused(String),
    /// It answered something that no management frontend says.
    #[error("status {status}: {text}")]
    Unexpected {
        /// The status.
        status: u16,
        /// The answer, or its beginning.
        text: String,
    },
}

/// Asks one management frontend, one request at a time, over a connection that is kept.
///
/// ```
/// use boat_clipper::{Engine, EngineConfig, ManagementClient};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let any = "127.0.0.1:0".parse()?;
/// let config = EngineConfig { management_address: Some(any), ..EngineConfig::default() };
/// let engine = Engine::start(any, config).await?;
/// let mut client = ManagementClient::new(engine.management_address().ok_or("none")?);
/// client.ping().await?;
/// assert_eq!(client.application_names().await?, ["default"]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ManagementClient {
    connection: Connection,
}

impl ManagementClient {
    /// A client of the frontend at `address`, with the time limits of [`ClipperConfig`]'s default. Nothing is sent yet. It must
    /// be used within a Tokio runtime with network and time.
    pub fn new(address: SocketAddr) -> Self {
        ManagementClient { connection: Connection::new(address, &ClipperConfig::default()) }
    }

    /// Where the frontend is.
    pub fn address(&self) -> SocketAddr {
        self.connection.address()
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn ping(&mut self) -> Result<(), ManagementError> {
        match self.ask(Method::GET, "ping", String::new()).await?.as_str() {
            "PONG" => Ok(()),
            text => Err(ManagementError::Unexpected { status: 200, text: start_of(text) }),
        }
    }

    /// Makes a change, and gives the frontend's words for it.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn change(&mut self, change: &Change) -> Result<String, ManagementError> {
        self.ask(Method::POST, change.endpoint(), change.body()).await
    }

    /// Asks a question, and gives the answer as it is: JSON, but for the state of an application.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn look(&mut self, look: &Look) -> Result<String, ManagementError> {
        self.ask(Method::POST, look.endpoint(), look.body()).await
    }

    /// Adds an application.
    ///
    /// # Errors
    /// [`ManagementError`]; `Refused` where there is one of this name.
    pub async fn add_app(&mut self, application: Application) -> Result<(), ManagementError> {
        self.change(&Change::AddApp(application)).await.map(drop)
    }

    /// Removes an application. A real Clipper's query frontend goes on answering for it until it is restarted.
    ///
    /// # Errors
    /// [`ManagementError`]; `Refused` where there is none of this name.
    pub async fn delete_app(&mut self, name: &str) -> Result<(), ManagementError> {
        self.change(&Change::DeleteApp { name: name.to_owned() }).await.map(drop)
    }

    /// Adds a version of a model and selects it.
    ///
    /// # Errors
    /// [`ManagementError`]; `Refused` where there is that version, or a name, the type or the batch size cannot be.
    pub async fn add_model(&mut self, model: ModelVersion) -> Result<(), ManagementError> {
        self.change(&Change::AddModel(model)).await.map(drop)
    }

    /// Selects a version of a model.
    ///
    /// # Errors
    /// [`ManagementError`]; `Refused` where there is none such.
    pub async fn set_model_version(&mut self, id: ModelId) -> Result<(), ManagementError> {
        self.change(&Change::SetModelVersion(id)).await.map(drop)
    }

    /// Removes a version of a model.
    ///
    /// # Errors
    /// [`ManagementError`]; `Refused` where there is none such.
    pub async fn delete_versioned_model(&mut self, id: ModelId) -> Result<(), ManagementError> {
        self.change(&Change::DeleteVersionedModel(id)).await.map(drop)
    }

    /// Links an application with a model.
    ///
    /// # Errors
    /// [`ManagementError`]; `Refused` where one of them is not there, they do not fit, or the application is linked already.
    pub async fn add_model_link(&mut self, app_name: &str, model_name: &str) -> Result<(), ManagementError> {
        self.change(&Change::AddModelLinks(links(app_name, model_name))).await.map(drop)
    }

    /// Takes a link away.
    ///
    /// # Errors
    /// [`ManagementError`]; `Refused` where there is none.
    pub async fn delete_model_link(
        &mut self,
        app_name: &str,
        model_name: &str,
    ) -> Result<(), ManagementError> {
        self.change(&Change::DeleteModelLinks(links(app_name, model_name))).await.map(drop)
    }

    /// The names of all applications, in any order.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn application_names(&mut self) -> Result<Vec<String>, ManagementError> {
        self.get(&Look::AllApplications { verbose: false }).await
    }

    /// All applications, in any order.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn applications(&mut self) -> Result<Vec<ApplicationView>, ManagementError> {
        self.get(&Look::AllApplications { verbose: true }).await
    }

    /// One application, if it is there.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn application(&mut self, name: &str) -> Result<Option<ApplicationView>, ManagementError> {
        self.get_one(&Look::Application { name: name.to_owned() }).await
    }

    /// The names of the models that an application is linked with.
    ///
    /// # Errors
    /// [`ManagementError`]; `Refused` where there is no such application.
    pub async fn linked_models(&mut self, app_name: &str) -> Result<Vec<String>, ManagementError> {
        self.get(&Look::LinkedModels { app_name: app_name.to_owned() }).await
    }

    /// All versions of all models as `name:version`, in any order.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn model_names(&mut self) -> Result<Vec<String>, ManagementError> {
        self.get(&Look::AllModels { verbose: false }).await
    }

    /// All versions of all models, in any order.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn models(&mut self) -> Result<Vec<ModelView>, ManagementError> {
        self.get(&Look::AllModels { verbose: true }).await
    }

    /// One version of a model, if it is there.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn model(&mut self, id: ModelId) -> Result<Option<ModelView>, ManagementError> {
        self.get_one(&Look::Model(id)).await
    }

    /// All containers as `name:version:replica`, in any order.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn container_names(&mut self) -> Result<Vec<String>, ManagementError> {
        self.get(&Look::AllContainers { verbose: false }).await
    }

    /// All containers, in any order. A real Clipper lists one for up to 40 seconds after it died.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn containers(&mut self) -> Result<Vec<ContainerView>, ManagementError> {
        self.get(&Look::AllContainers { verbose: true }).await
    }

    /// One container, if it is there.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn container(
        &mut self,
        id: ModelId,
        replica_id: i64,
    ) -> Result<Option<ContainerView>, ManagementError> {
        self.get_one(&Look::Container { id, replica_id }).await
    }

    /// What the selection policy of an application knows of a user: its default output; empty where there is no such
    /// application.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub async fn state(&mut self, app_name: &str, uid: i64) -> Result<String, ManagementError> {
        self.look(&Look::State { app_name: app_name.to_owned(), uid }).await
    }

    async fn get<T: DeserializeOwned>(&mut self, look: &Look) -> Result<T, ManagementError> {
        let text = self.look(look).await?;
        serde_json::from_str(&text).map_err(|error| unexpected(&error, &text))
    }

    /// What is not there is shown as an object without anything in it.
    async fn get_one<T: DeserializeOwned>(&mut self, look: &Look) -> Result<Option<T>, ManagementError> {
        let text = self.look(look).await?;
        match serde_json::from_str(&text) {
            Ok(serde_json::Value::Object(fields)) if fields.is_empty() => Ok(None),
            Ok(found) => serde_json::from_value(found).map(Some).map_err(|error| unexpected(&error, &text)),
            Err(error) => Err(unexpected(&error, &text)),
        }
    }

    async fn ask(&mut self, method: Method, endpoint: &str, body: String) -> Result<String, ManagementError> {
        let asked = self.connection.exchange(method, &format!("/admin/{endpoint}"), Bytes::from(body)).await;
        let (status, answer) = asked.map_err(|error| match error {
            ExchangeError::NotSent(why) => ManagementError::NotSent(why),
            ExchangeError::Unknown(why) => ManagementError::Unknown(why),
        })?;
        let text = String::from_utf8_lossy(&answer);
        match status {
            StatusCode::OK => Ok(text.into_owned()),
            StatusCode::BAD_REQUEST => Err(ManagementError::Refused(start_of(&text))),
            _ => Err(ManagementError::Unexpected { status: status.as_u16(), text: start_of(&text) }),
        }
    }
}

fn links(app_name: &str, model_name: &str) -> Links {
    Links { app_name: app_name.to_owned(), model_names: vec![model_name.to_owned()] }
}

fn unexpected(error: &serde_json::Error, text: &str) -> ManagementError {
    ManagementError::Unexpected { status: 200, text: format!("{error} in {}", start_of(text)) }
}

fn start_of(text: &str) -> String {
    text.chars().take(REASON_CHARS_MAX).collect()
}
