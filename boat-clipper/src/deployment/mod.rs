//! A deployment: which applications and models there are, and how they hang together.
//!
//! Plain state and plain functions: the same changes give the same deployment and the same words everywhere. A query
//! frontend's management keeps one, and so does every predictor, of what the log has said.

mod change;
mod configuration;
mod json;
mod look;
mod making;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::change::{Application, Change, Links, ModelId, ModelVersion};
pub(crate) use self::configuration::Planned;
pub use self::configuration::{Beginning, Configuration};
pub use self::look::{ApplicationView, ContainerView, Look, ModelView};
#[cfg(feature = "docker")]
pub(crate) use self::making::NO_CONTAINER;

/// How many applications there may be.
pub const APPLICATIONS_MAX: usize = 1_024;
/// How many versions of models there may be, all together.
pub const MODEL_VERSIONS_MAX: usize = 4_096;

/// What the management requests so far have made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Deployment {
    applications: BTreeMap<String, Application>,
    /// The models of each application. They outlive it, as in Clipper: an application that is added again is linked as before.
    links: BTreeMap<String, Vec<String>>,
    /// The versions of each model.
    models: BTreeMap<String, BTreeMap<String, ModelVersion>>,
    /// The selected version of each model. It outlives that version, as in Clipper.
    selected: BTreeMap<String, String>,
}

impl Deployment {
    /// One with nothing in it.
    pub fn new() -> Self {
        Deployment::default()
    }

    /// Makes one change and gives Clipper's words for it.
    ///
    /// # Errors
    /// Why it cannot be, in Clipper's words. Nothing has changed then.
    pub fn apply(&mut self, change: &Change) -> Result<String, String> {
        match change {
            Change::AddApp(application) => self.add_app(application),
            Change::DeleteApp { name } => match self.applications.remove(name) {
                Some(_) => Ok(format!("Successfully deleted application with name '{name}'")),
                None => Err(format!("Application '{name}' does not exist")),
            },
            Change::AddModel(model) => self.add_model(model),
            Change::SetModelVersion(id) => self.select(id),
            Change::DeleteVersionedModel(id) => self.delete_model(id),
            Change::AddModelLinks(links) => self.link(links),
            Change::DeleteModelLinks(links) => self.unlink(links),
        }
    }

    fn add_app(&mut self, application: &Application) -> Result<String, String> {
        let name = &application.name;
        if self.applications.contains_key(name) {
            return Err(format!("application '{name}' already exists"));
        }
        if self.applications.len() >= APPLICATIONS_MAX {
            return Err(format!("there are {APPLICATIONS_MAX} applications, and no more can be added"));
        }
        self.applications.insert(name.clone(), application.clone());
        Ok(format!("Successfully added application with name '{name}'"))
    }

    fn add_model(&mut self, model: &ModelVersion) -> Result<String, String> {
        let ModelVersion { model_name: name, model_version: version, input_type, .. } = model;
        let labels = model.labels.iter().map(|label| ("label", label));
        for (what, text) in [("model name", name), ("model version", version)].into_iter().chain(labels) {
            if text.contains([',', ':']) {
                return Err(format!("Invalid {what} supplied: {text}. Contains one of: ',', ':'"));
            }
        }
        if model.batch_size != -1 && model.batch_size <= 0 {
            return Err("The batch size must be positive or DEFAULT_BATCH_SIZE, which is -1".to_owned());
        }
        if self.model(name, version).is_some() {
            return Err(format!("model with name '{name}' and version '{version}' already exists"));
        }
        if self.models().count() >= MODEL_VERSIONS_MAX {
            return Err(format!(
                "there are {MODEL_VERSIONS_MAX} versions of models, and no more can be added"
            ));
        }
        for (application, models) in &self.links {
            let Some(linked) = self.applications.get(application).filter(|_| models.contains(name)) else {
                continue;
            };
            if linked.input_type != *input_type {
                return Err(format!(
                    "Model with name '{name}' is already linked to app '{application}' using input type '{}'. The \
                     input type you provided for a new version of the model, '{input_type}', is not compatible.",
                    linked.input_type
                ));
            }
        }
        self.models.entry(name.clone()).or_default().insert(version.clone(), model.clone());
        self.selected.insert(name.clone(), version.clone());
        Ok(format!("Successfully added model with name '{name}' and input type '{input_type}'"))
    }

    fn select(&mut self, id: &ModelId) -> Result<String, String> {
        let ModelId { model_name: name, model_version: version } = id;
        match self.models.get(name) {
            None => Err(format!("Cannot set version for nonexistent model '{name}'")),
            Some(versions) if !versions.contains_key(version) => {
                Err(format!("Cannot set non-existent version '{version}' for model with name '{name}'"))
            }
            Some(_) => {
                self.selected.insert(name.clone(), version.clone());
                Ok(format!("Successfully set model with name '{name}' to version '{version}'"))
            }
        }
    }

    fn delete_model(&mut self, id: &ModelId) -> Result<String, String> {
        let ModelId { model_name: name, model_version: version } = id;
        let versions = self.models.get_mut(name);
        let removed = versions.and_then(|versions| versions.remove(version));
        if removed.is_none() {
            return Err(format!("model with name '{name}' and version '{version}' does not exist"));
        }
        self.models.retain(|_, versions| !versions.is_empty());
        Ok(format!("Successfully deleted model with name '{name}' and version '{version}'"))
    }

    fn link(&mut self, links: &Links) -> Result<String, String> {
        let Links { app_name, model_names } = links;
        let application = self.applications.get(app_name);
        let application = application.ok_or_else(|| format!("No app with name '{app_name}' exists."))?;
        let name = match model_names.as_slice() {
            [name] => name,
            [] => {
                return Err(format!(
                    "Please provide the name of the model that you want to link to the application '{app_name}'"
                ));
            }
            several => {
                return Err(format!(
                    "Applications must be linked with at most one model. Attempted to add links to {} models.",
                    several.len()
                ));
            }
        };
        let model = self.models.get(name).and_then(|versions| versions.values().next());
        let model = model.ok_or_else(|| format!("No model with name '{name}' exists."))?;
        if model.input_type != application.input_type {
            return Err(format!(
                "Model with name '{name}' has incompatible input_type '{}'. Requested app to link to has input_type '{}'.",
                model.input_type, application.input_type
            ));
        }
        match self.links.get(app_name).and_then(|linked| linked.first()) {
            Some(linked) if linked == name => {
                Err(format!("The model with name '{name}' is already linked to '{app_name}'"))
            }
            Some(linked) => Err(format!("A model with name {linked} is already linked to '{app_name}'.")),
            None => {
                self.links.insert(app_name.clone(), vec![name.clone()]);
                Ok(format!("Successfully linked model with name '{name}' to application '{app_name}'"))
            }
        }
    }

    fn unlink(&mut self, links: &Links) -> Result<String, String> {
        let Links { app_name, model_names } = links;
        if !self.applications.contains_key(app_name) {
            return Err(format!("No app with name {app_name} exists."));
        }
        let linked = self.linked(app_name);
        if let Some(name) = model_names.iter().find(|name| !linked.contains(name)) {
            return Err(format!("Cannot remove nonexistent link between app {app_name} and model {name}"));
        }
        if let Some(linked) = self.links.get_mut(app_name) {
            linked.retain(|name| !model_names.contains(name));
        }
        self.links.retain(|_, linked| !linked.is_empty());
        Ok("Success!".to_owned())
    }

    /// An application by name.
    pub fn application(&self, name: &str) -> Option<&Application> {
        self.applications.get(name)
    }

    /// All applications, by name.
    pub fn applications(&self) -> impl Iterator<Item = &Application> {
        self.applications.values()
    }

    /// The models that an application of this name is linked with: none, or one.
    pub fn linked(&self, application: &str) -> &[String] {
        self.links.get(application).map(Vec::as_slice).unwrap_or_default()
    }

    /// A version of a model.
    pub fn model(&self, name: &str, version: &str) -> Option<&ModelVersion> {
        self.models.get(name)?.get(version)
    }

    /// All versions of all models, by name and version.
    pub fn models(&self) -> impl Iterator<Item = &ModelVersion> {
        self.models.values().flat_map(BTreeMap::values)
    }

    /// The selected version of a model, whether that version is still there or not.
    pub fn selected(&self, name: &str) -> Option<&str> {
        self.selected.get(name).map(String::as_str)
    }

    /// The selected version of the model that an application is linked with, if all of them are there.
    pub fn serving(&self, application: &str) -> Option<&ModelVersion> {
        let name = self.linked(application).first()?;
        self.model(name, self.selected(name)?)
    }
}

#[cfg(test)]
mod tests;
