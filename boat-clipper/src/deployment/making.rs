//! A deployment as the changes that make it: for a backend that has none, and for snapshots.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::{Application, Change, Deployment, Links, ModelId, ModelVersion};
use crate::InputType;

/// The version of the format in which a deployment stands in snapshots.
const FORMAT: u32 = 1;
/// The longest deployment that is read from a snapshot, in bytes: far more than all that may be in one.
const STATE_BYTES_MAX: u64 = 256 << 20;
/// What serves a model that nobody starts: Clipper's own word.
pub(crate) const NO_CONTAINER: &str = "NO_CONTAINER";

/// A deployment in a snapshot, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    boat_deployment: u32,
    changes: Vec<Change>,
}

impl Deployment {
    /// Changes that make this deployment out of an empty one.
    ///
    /// What outlives its owner, as links and selected versions do in Clipper, comes of things that are added and deleted
    /// again.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let (plain, odd): (Vec<Links>, Vec<Links>) =
            self.all_links().partition(|links| self.can_be_linked(links));
        let mut changes = Vec::new();
        // First, while there is nothing that would have to fit.
        odd.into_iter().for_each(|links| self.make_odd_link(&mut changes, links));
        for (name, selected) in &self.selected {
            let versions = self.models.get(name).into_iter().flat_map(|versions| versions.values());
            // The one that is added last is selected.
            let (last, others): (Vec<_>, Vec<_>) =
                versions.partition(|model| model.model_version == *selected);
            let is_gone = last.is_empty();
            changes.extend(others.into_iter().chain(last).cloned().map(Change::AddModel));
            if is_gone {
                let input_type =
                    self.first_version(name).map_or(InputType::Strings, |model| model.input_type);
                let id = ModelId { model_name: name.clone(), model_version: selected.clone() };
                changes.push(Change::AddModel(stand_in(&id, input_type)));
                changes.push(Change::DeleteVersionedModel(id));
            }
        }
        changes.extend(self.applications().cloned().map(Change::AddApp));
        changes.extend(plain.into_iter().map(Change::AddModelLinks));
        changes
    }

    fn all_links(&self) -> impl Iterator<Item = Links> {
        let links = |(name, models): (&String, &Vec<String>)| Links {
            app_name: name.clone(),
            model_names: models.clone(),
        };
        self.links.iter().map(links)
    }

    fn first_version(&self, name: &str) -> Option<&ModelVersion> {
        self.models.get(name)?.values().next()
    }

    /// Links an application with a model, neither of which is there afterwards. An application that is there in the end is the same
    /// for that moment: Clipper's query frontend would not forget another one.
    fn make_odd_link(&self, changes: &mut Vec<Change>, links: Links) {
        let Some(model_name) = links.model_names.first().cloned() else { return };
        let id = ModelId { model_name, model_version: "0".to_owned() };
        let passing = || Application {
            name: links.app_name.clone(),
            input_type: InputType::Strings,
            default_output: String::new(),
            latency_slo_micros: 1,
        };
        let application = self.application(&links.app_name).cloned().unwrap_or_else(passing);
        let name = links.app_name.clone();
        changes.extend([
            Change::AddModel(stand_in(&id, application.input_type)),
            Change::AddApp(application),
            Change::AddModelLinks(links),
            Change::DeleteApp { name },
            Change::DeleteVersionedModel(id),
        ]);
    }

    /// Whether the link could be made as things are now.
    fn can_be_linked(&self, links: &Links) -> bool {
        let application = self.application(&links.app_name);
        let model = links.model_names.first().and_then(|name| self.first_version(name));
        application.zip(model).is_some_and(|(application, model)| application.input_type == model.input_type)
    }

    /// Writes this deployment for a snapshot.
    pub(crate) fn to_state(&self) -> Vec<u8> {
        let written = Written { boat_deployment: FORMAT, changes: self.changes() };
        // Strings, numbers and lists of them, written to memory: there is nothing that could fail.
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// Reads what [`to_state`](Self::to_state) has written. The error says what is wrong.
    pub(crate) fn from_state(state: &mut dyn Read) -> Result<Deployment, String> {
        let mut bytes = Vec::new();
        state.take(STATE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        let read: Result<Written, _> = serde_json::from_slice(&bytes);
        let Written { boat_deployment, changes } =
            read.map_err(|error| format!("this is no deployment: {error}"))?;
        if boat_deployment != FORMAT {
            return Err(format!("a deployment of format {boat_deployment}; this program knows {FORMAT}"));
        }
        let mut deployment = Deployment::new();
        for (n, change) in changes.iter().enumerate() {
            deployment.apply(change).map_err(|why| format!("change {n} ({}): {why}", change.endpoint()))?;
        }
        Ok(deployment)
    }
}

fn stand_in(id: &ModelId, input_type: InputType) -> ModelVersion {
    ModelVersion {
        model_name: id.model_name.clone(),
        model_version: id.model_version.clone(),
        labels: Vec::new(),
        input_type,
        container_name: NO_CONTAINER.to_owned(),
        model_data_path: String::new(),
        batch_size: 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any change among a few names, so that they meet.
    fn change() -> impl Strategy<Value = Change> {
        let input_type = prop_oneof![Just(InputType::Strings), Just(InputType::Doubles)];
        ("[ab]", "[mn]", "[123]", input_type, 0..9).prop_map(|(app, model, version, input_type, what)| {
            let id = ModelId { model_name: model.clone(), model_version: version };
            let links = Links { app_name: app.clone(), model_names: vec![model] };
            match what {
                0 | 1 => {
                    let (name, default_output) = (app, "x".to_owned());
                    Change::AddApp(Application { name, input_type, default_output, latency_slo_micros: 7 })
                }
                2 => Change::DeleteApp { name: app },
                3 | 4 => Change::AddModel(stand_in(&id, input_type)),
                5 => Change::SetModelVersion(id),
                6 => Change::DeleteVersionedModel(id),
                7 => Change::DeleteModelLinks(links),
                _ => Change::AddModelLinks(links),
            }
        })
    }

    proptest! {
        #[test]
        fn whatever_was_made_is_made_again(changes in proptest::collection::vec(change(), 0..40)) {
            let mut deployment = Deployment::new();
            for change in &changes {
                let _ = deployment.apply(change);
            }
            let read = Deployment::from_state(&mut deployment.to_state().as_slice());
            prop_assert_eq!(read.as_ref(), Ok(&deployment));
            // A query frontend that remembers the first application of a name remembers the right one.
            for change in deployment.changes() {
                if let Change::AddApp(made) = change && let Some(wanted) = deployment.application(&made.name) {
                    prop_assert_eq!(&made, wanted);
                }
            }
        }
    }

    #[test]
    fn what_is_no_deployment_is_refused() {
        let read = |text: &str| Deployment::from_state(&mut text.as_bytes()).unwrap_err();
        assert!(read("").contains("no deployment"));
        assert!(read(r#"{"boat_deployment":2,"changes":[]}"#).contains("of format 2"));
        let twice = r#"{"boat_deployment":1,"changes":[{"delete_app":{"name":"a"}}]}"#;
        assert!(read(twice).contains("change 0 (delete_app): Application 'a' does not exist"));
    }
}
