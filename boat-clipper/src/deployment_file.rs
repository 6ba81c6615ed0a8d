//! The small file that says what a cluster begins with.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::deployment::{Application, Change, Deployment, Links, ModelId, ModelVersion};
use crate::{InputType, ModelKind};

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The file that Boat comes with.
const DEFAULT: &str = include_str!("default-deployment.toml");
/// What stands before the name of a model in the node's process.
pub(crate) const BUILT_IN: &str = "boat/";

/// Why there is no deployment to begin with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeploymentFileError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no deployment.
    #[error("{}: {why}", path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        why: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    application: Vec<ApplicationEntry>,
    #[serde(default)]
    model: Vec<ModelEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplicationEntry {
    name: String,
    #[serde(default)]
    input_type: InputType,
    #[serde(default)]
    default_output: String,
    #[serde(default = "default_slo_micros")]
    latency_slo_micros: i64,
    model: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelEntry {
    name: String,
    version: String,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    input_type: InputType,
    container: String,
    #[serde(default = "default_batch_size")]
    batch_size: i32,
    /// Otherwise the version that stands last.
    #[serde(default)]
    selected: bool,
}

fn default_slo_micros() -> i64 {
    100_000
}

fn default_batch_size() -> i32 {
    64
}

/// The changes that a deployment file stands for, in order.
///
/// ```
/// use boat_clipper::parse_deployment;
///
/// let changes = parse_deployment("[[application]]\nname = \"a\"").unwrap();
/// assert_eq!(changes[0].endpoint(), "add_app");
/// assert!(parse_deployment("[[application]]\nmodel = \"m\"").is_err());
/// ```
///
/// # Errors
/// What is wrong, and where.
pub fn parse_deployment(text: &str) -> Result<Vec<Change>, String> {
    let File { application, model } = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut changes: Vec<Change> = application.iter().map(ApplicationEntry::add).collect();
    changes.extend(model.iter().map(ModelEntry::add));
    changes.extend(model.iter().filter(|model| model.selected).map(ModelEntry::select));
    changes.extend(application.into_iter().filter_map(|application| {
        let model_names = vec![application.model?];
        Some(Change::AddModelLinks(Links { app_name: application.name, model_names }))
    }));
    let mut deployment = Deployment::new();
    for change in &changes {
        deployment.apply(change)?;
    }
    Ok(changes)
}

/// Reads a deployment file.
///
/// # Errors
/// [`DeploymentFileError`].
pub fn read_deployment(path: &Path) -> Result<Vec<Change>, DeploymentFileError> {
    let unreadable = |source| DeploymentFileError::Unreadable { path: path.to_owned(), source };
    let wrong = |why| DeploymentFileError::Wrong { path: path.to_owned(), why };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(wrong(format!("{bytes} bytes, at most {FILE_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse_deployment(&text).map_err(wrong)
}

/// The changes of the file that Boat comes with: the application `default`, and version 1 of `echo-model` behind it.
pub fn default_deployment() -> Vec<Change> {
    // A test reads it.
    parse_deployment(DEFAULT).unwrap_or_default()
}

/// The same with another built-in model behind the name.
pub(crate) fn default_deployment_of(kind: ModelKind) -> Vec<Change> {
    let mut changes = default_deployment();
    for change in &mut changes {
        if let Change::AddModel(model) = change {
            model.container_name = format!("{BUILT_IN}{kind}");
        }
    }
    changes
}

impl ApplicationEntry {
    fn add(&self) -> Change {
        Change::AddApp(Application {
            name: self.name.clone(),
            input_type: self.input_type,
            default_output: self.default_output.clone(),
            latency_slo_micros: self.latency_slo_micros,
        })
    }
}

impl ModelEntry {
    fn add(&self) -> Change {
        Change::AddModel(ModelVersion {
            model_name: self.name.clone(),
            model_version: self.version.clone(),
            labels: self.labels.clone(),
            input_type: self.input_type,
            container_name: self.container.clone(),
            model_data_path: "DEPRECATED".to_owned(),
            batch_size: self.batch_size,
        })
    }

    fn select(&self) -> Change {
        Change::SetModelVersion(ModelId {
            model_name: self.name.clone(),
            model_version: self.version.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_what_boat_always_served() {
        let mut deployment = Deployment::new();
        for change in parse_deployment(DEFAULT).unwrap() {
            deployment.apply(&change).unwrap();
        }
        let application = deployment.application("default").unwrap();
        assert_eq!((application.input_type, application.latency_slo_micros), (InputType::Strings, 100_000));
        assert_eq!(application.default_output, "");
        let model = deployment.serving("default").unwrap();
        assert_eq!(
            (model.id().to_string().as_str(), model.container_name.as_str()),
            ("echo-model:1", "boat/echo")
        );
        let chain = default_deployment_of(ModelKind::HashChain);
        assert!(chain.iter().any(|change| change.body().contains("boat/hash-chain")));
    }

    #[test]
    fn versions_are_selected_as_they_say() {
        let file = |selected: &str| {
            format!(
                "[[application]]\nname = 'a'\nmodel = 'm'\n\
                 [[model]]\nname = 'm'\nversion = '1'\ncontainer = 'c'\n{selected}\n\
                 [[model]]\nname = 'm'\nversion = '2'\ncontainer = 'c'\n"
            )
        };
        let serving = |text: &str| {
            let mut deployment = Deployment::new();
            for change in parse_deployment(text).unwrap() {
                deployment.apply(&change).unwrap();
            }
            deployment.serving("a").unwrap().model_version.clone()
        };
        assert_eq!((serving(&file("")).as_str(), serving(&file("selected = true")).as_str()), ("2", "1"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, why) in [
            ("[[application]]\nname = 1", "line 2"),
            ("[[application]]\nname = 'a'\ninput = 'x'", "unknown field `input`"),
            ("[[application]]\nname = 'a'\nmodel = 'm'", "No model with name 'm' exists."),
            ("[[model]]\nname = 'm'\nversion = '1'\ncontainer = 'c'\nbatch_size = 0", "batch size"),
        ] {
            let error = parse_deployment(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let missing = read_deployment(Path::new("/nowhere/deployment.toml")).unwrap_err();
        assert!(missing.to_string().starts_with("/nowhere/deployment.toml: "), "{missing}");
    }
}
