//! Under which name a query frontend knows each application.
//!
//! Clipper's never forgets one: an application that is deleted and added again keeps the input type and the latency SLO that
//! it had first, until the frontend is started anew. A start would cost a model its state, and the replay behind it would
//! come to the same place again. So an application that comes back as another one gets a name there that is new to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::InputType;
use crate::deployment::{Application, Change, Deployment, Links};

/// What stands between an application's name and the number of its name in the frontend.
const AGAIN: &str = ".boat";

/// The names of one life of a query frontend. They grow as its own table of applications does.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Each application's last name. It outlives the application, as the frontend's memory of it does.
    last: BTreeMap<String, Known>,
    /// Every name that the frontend may know.
    taken: BTreeSet<String>,
}

/// An application as the frontend knows it for good.
#[derive(Debug)]
struct Known {
    name: String,
    input_type: InputType,
    latency_slo_micros: i64,
}

impl Known {
    fn is(&self, application: &Application) -> bool {
        (self.input_type, self.latency_slo_micros) == (application.input_type, application.latency_slo_micros)
    }
}

impl Names {
    /// The name of an application in the frontend.
    pub(super) fn of<'a>(&'a self, application: &'a str) -> &'a str {
        self.last.get(application).map_or(application, |known| &known.name)
    }

    /// Whether the frontend knows this application, under its last name, as it is to be.
    pub(super) fn knows(&self, application: &Application) -> bool {
        self.last.get(&application.name).is_some_and(|known| known.is(application))
    }

    /// The next name for an application that the frontend does not know so.
    pub(super) fn next(&self, application: &str) -> String {
        let mut name = application.to_owned();
        let mut number = 1_usize;
        // Each round meets another name that is taken.
        while self.taken.contains(&name) {
            number += 1;
            name = format!("{application}{AGAIN}{number}");
        }
        name
    }

    /// Somebody else has used this name.
    pub(super) fn take(&mut self, name: String) {
        self.taken.insert(name);
    }

    /// From now on this is the application's name.
    pub(super) fn give(&mut self, application: &Application, name: String) {
        let Application { input_type, latency_slo_micros, .. } = *application;
        self.taken.insert(name.clone());
        self.last.insert(application.name.clone(), Known { name, input_type, latency_slo_micros });
    }

    /// What to tell for a change that makes `after`: the change in the frontend's names, and links that it makes hold there.
    pub(super) fn translate(&self, change: &Change, after: &Deployment) -> Vec<Change> {
        let named = match change {
            Change::AddApp(application) => {
                let name = self.of(&application.name).to_owned();
                Change::AddApp(Application { name, ..application.clone() })
            }
            Change::DeleteApp { name } => Change::DeleteApp { name: self.of(name).to_owned() },
            Change::AddModelLinks(links) => Change::AddModelLinks(self.links(links)),
            Change::DeleteModelLinks(links) => Change::DeleteModelLinks(self.links(links)),
            Change::AddModel(_) | Change::SetModelVersion(_) | Change::DeleteVersionedModel(_) => {
                change.clone()
            }
        };
        std::iter::once(named).chain(self.restored_links(change, after)).collect()
    }

    fn links(&self, links: &Links) -> Links {
        Links { app_name: self.of(&links.app_name).to_owned(), model_names: links.model_names.clone() }
    }

    /// Links outlive an application and its models. Those of what comes back are made, for the name in the frontend may be new.
    /// One between two types is not: it would block the model's container for good.
    fn restored_links(&self, change: &Change, after: &Deployment) -> Vec<Change> {
        let fits = |application: &Application, model: &str| {
            let mut versions = after.models().filter(|version| version.model_name == *model);
            versions.next().is_some_and(|version| version.input_type == application.input_type)
        };
        let comes_back = |application: &Application, model: &str| match change {
            Change::AddApp(added) => added.name == application.name,
            Change::AddModel(added) => added.model_name == *model,
            _ => false,
        };
        let of_one = |application: &Application| {
            let linked = after.linked(&application.name).iter();
            let linked = linked.filter(|model| fits(application, model) && comes_back(application, model));
            let app_name = self.of(&application.name).to_owned();
            linked
                .map(|model| Links { app_name: app_name.clone(), model_names: vec![model.clone()] })
                .map(Change::AddModelLinks)
                .collect::<Vec<_>>()
        };
        after.applications().flat_map(of_one).collect()
    }
}

/// Whether a name in a query frontend may be one of an application's.
pub(super) fn is_of(name: &str, application: &str) -> bool {
    let number = name.strip_prefix(application).and_then(|rest| rest.strip_prefix(AGAIN));
    let is_number = |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    name == application || number.is_some_and(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(input_type: InputType) -> Application {
        Application {
            name: "a".to_owned(),
            input_type,
            default_output: "x".to_owned(),
            latency_slo_micros: 1,
        }
    }

    fn add(names: &mut Names, application: &Application) -> String {
        if !names.knows(application) {
            names.give(application, names.next(&application.name));
        }
        names.of(&application.name).to_owned()
    }

    #[test]
    fn what_comes_back_as_another_gets_a_name_that_was_never_used() {
        let mut names = Names::default();
        let (strings, doubles) = (application(InputType::Strings), application(InputType::Doubles));
        assert_eq!(names.of("a"), "a");
        assert_eq!(add(&mut names, &strings), "a");
        let other_default = Application { default_output: "y".to_owned(), ..strings.clone() };
        assert_eq!(add(&mut names, &other_default), "a", "Clipper does take another default");
        assert_eq!(add(&mut names, &doubles), "a.boat2");
        let taken = Application { name: "a.boat2".to_owned(), ..strings.clone() };
        assert_eq!(add(&mut names, &taken), "a.boat2.boat2");
        let slower = Application { latency_slo_micros: 2, ..doubles };
        assert_eq!(add(&mut names, &slower), "a.boat3");
        names.take("a.boat4".to_owned());
        assert_eq!(add(&mut names, &strings), "a.boat5");
        assert_eq!(names.of("a"), "a.boat5");
    }

    #[test]
    fn the_names_of_an_application_are_told_from_others() {
        for name in ["a", "a.boat2", "a.boat17"] {
            assert!(is_of(name, "a"), "{name}");
        }
        for name in ["b", "ab", "a2", "a.boat", "a.boat2.boat2", "a.boats", "b.boat2", ""] {
            assert!(!is_of(name, "a"), "{name}");
        }
    }
}
