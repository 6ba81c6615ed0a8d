//! Changes of a deployment as they stand in Boat's log.

use serde::{Deserialize, Serialize};

use super::{Change, Deployment};

/// How many changes a beginning may have.
const CHANGES_MAX: usize = 1_024;

/// The body of a [`Configure`](boat_core::RequestKind::Configure) request: JSON, `{"begin":[...]}` or one change, like
/// `{"add_app":{...}}`.
///
/// ```
/// use boat_clipper::{Change, Configuration};
///
/// let change = Configuration::Change(Change::DeleteApp { name: "a".to_owned() });
/// assert_eq!(change.to_body(), r#"{"delete_app":{"name":"a"}}"#);
/// assert_eq!(Configuration::parse(change.to_body().as_bytes()), Ok(change));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Configuration {
    /// What a cluster begins with: all of it, or nothing if there has been any change before.
    Begin(Beginning),
    /// One change.
    Change(Change),
}

/// The changes that make a first deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beginning {
    /// In order.
    pub begin: Vec<Change>,
}

impl Configuration {
    /// Reads a body.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Configuration, String> {
        let read: Configuration = serde_json::from_slice(body)
            .map_err(|_| "expected {\"begin\":[...]} or one change, like {\"add_app\":{...}}".to_owned())?;
        match &read {
            Configuration::Begin(Beginning { begin }) if begin.len() > CHANGES_MAX => {
                Err(format!("{} changes, at most {CHANGES_MAX}", begin.len()))
            }
            _ => Ok(read),
        }
    }

    /// Writes a body.
    pub fn to_body(&self) -> String {
        // Strings, numbers and lists of them, written to memory: there is nothing that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What a configuration means for a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    /// The deployment behind it.
    pub(crate) after: Deployment,
    /// The changes on the way there, in order.
    pub(crate) changes: Vec<Change>,
    /// The words for it.
    pub(crate) said: String,
}

impl Deployment {
    /// What would become of this deployment. The error says why it cannot be.
    pub(crate) fn plan(&self, configuration: &Configuration) -> Result<Planned, String> {
        let mut after = self.clone();
        match configuration {
            Configuration::Change(change) => {
                let said = after.apply(change)?;
                Ok(Planned { after, changes: vec![change.clone()], said })
            }
            Configuration::Begin(_) if *self != Deployment::new() => {
                Err("there is a deployment already".to_owned())
            }
            Configuration::Begin(Beginning { begin }) => {
                for (n, change) in begin.iter().enumerate() {
                    let wrong = |why| format!("change {n} ({}): {why}", change.endpoint());
                    after.apply(change).map_err(wrong)?;
                }
                let said = format!("Successfully began with {} changes", begin.len());
                Ok(Planned { after, changes: begin.clone(), said })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::deployment_file;

    #[test]
    fn a_beginning_is_all_or_nothing_and_only_once() {
        let begin = deployment_file::default_deployment();
        let configuration = Configuration::Begin(Beginning { begin: begin.clone() });
        assert_eq!(Configuration::parse(configuration.to_body().as_bytes()), Ok(configuration.clone()));
        let planned = Deployment::new().plan(&configuration).unwrap();
        assert_eq!(planned.changes, begin);
        assert!(planned.after.serving("default").is_some());
        assert_eq!(planned.after.plan(&configuration), Err("there is a deployment already".to_owned()));
        let twice = Beginning { begin: [begin.clone(), begin].concat() };
        let wrong = Deployment::new().plan(&Configuration::Begin(twice)).unwrap_err();
        assert!(wrong.contains("change 3 (add_app): application 'default' already exists"), "{wrong}");
    }

    #[test]
    fn one_change_is_made_and_others_are_refused() {
        let delete = Configuration::parse(br#"{"delete_app":{"name":"a"}}"#).unwrap();
        assert_eq!(Deployment::new().plan(&delete), Err("Application 'a' does not exist".to_owned()));
        for wrong in ["", "{}", "[]", r#"{"begin":{}}"#, r#"{"delete_app":{}}"#, r#"{"ping":{}}"#] {
            assert!(Configuration::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let many = vec![Change::DeleteApp { name: String::new() }; CHANGES_MAX + 1];
        let many = Configuration::Begin(Beginning { begin: many }).to_body();
        assert!(Configuration::parse(many.as_bytes()).unwrap_err().contains("at most 1024"));
    }

    proptest! {
        #[test]
        fn no_body_whatever_panics(body in proptest::collection::vec(any::<u8>(), 0..100), text in "\\{\"[a-z_]{0,12}\": ?[\\[\\]{}\":,a-z0-9]{0,40}\\}") {
            for body in [&body[..], text.as_bytes()] {
                let _ = Configuration::parse(body);
                for endpoint in ["add_app", "delete_app", "add_model", "set_model_version", "add_model_links"] {
                    let _ = Change::parse(endpoint, body);
                }
                for endpoint in ["get_all_models", "get_container", "get_state", "get_model"] {
                    let _ = super::super::Look::parse(endpoint, body);
                }
            }
        }
    }
}
