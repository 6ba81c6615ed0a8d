//! Changes of the deployment that come with the log, made on the Clipper behind this predictor.

use std::sync::Arc;
use std::time::Duration;

use boat_core::{Call, CallOutcome, Check, PredictorError, RequestKind};
use bytes::Bytes;
use http::Method;
use tokio::time::{Instant, sleep};

use super::config::stands_in_paths;
use super::connection::ExchangeError;
use super::names::Names;
use super::{ClipperConfig, ClipperPredictor, Renewal};
use crate::deployment::{Application, Change, Configuration, Deployment, ModelVersion, Planned};
#[cfg(feature = "docker")]
use crate::docker::DockerError;
use crate::replicated::DeploymentView;
use crate::telling::tell;
use crate::{InputType, ManagementClient, request};

/// How many times the call limit the latency SLO of an application is, at least: a default answer for lateness should never come
/// before the call has been given up.
const SLO_CALL_TIMEOUTS: i64 = 10;
/// How long a query frontend may take to hear of a new application.
const HEARD_MAX: Duration = Duration::from_secs(10);
/// How many names that others have left in a query frontend are passed over for one application.
const LEFT_OVER_MAX: usize = 1_000;
/// How often it is asked whether it has.
const HEARD_PAUSE: Duration = Duration::from_millis(10);

/// Where an application's predictions are asked for.
pub(super) fn path_of(application: &str) -> String {
    format!("/{application}/predict")
}

/// The deployment that a predictor keeps for the log.
#[derive(Debug)]
pub(super) struct Replicated {
    deployment: Deployment,
    view: DeploymentView,
    /// The way to the management frontend, where there is one beside the predictor's own engine.
    management: Option<ManagementClient>,
    /// What the query frontend calls the applications, where it is not an engine of Boat's.
    names: Names,
}

impl Replicated {
    pub(super) fn new(management: Option<ManagementClient>) -> Self {
        let (deployment, view, names) = (Deployment::new(), DeploymentView::default(), Names::default());
        Replicated { deployment, view, management, names }
    }

    /// What the query frontend calls an application.
    pub(super) fn known_as<'a>(&'a self, application: &'a str) -> &'a str {
        self.names.of(application)
    }

    pub(super) fn view(&self) -> &DeploymentView {
        &self.view
    }

    pub(super) fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// This is deployed now.
    fn set(&mut self, deployment: Deployment) {
        self.view.replace(deployment.clone());
        self.deployment = deployment;
    }

    /// Nothing is deployed any more. Who looks goes on seeing what was, until the replay has come so far. The query frontend is
    /// another one, or `is_new` is false and it knows what it knew.
    pub(super) fn reset(&mut self, is_new: bool) {
        self.deployment = Deployment::new();
        if is_new {
            self.names = Names::default();
        }
    }

    /// What the application takes now, if it is there.
    pub(super) fn input_type(&self, application: &str) -> Option<InputType> {
        self.deployment.application(application).map(|found| found.input_type)
    }

    /// Checks requests by what is deployed at that moment. What counts is what is deployed at their position.
    pub(super) fn check(&self, application: &str) -> Check {
        let (view, application) = (self.view.clone(), application.to_owned());
        Arc::new(move |kind, body| match (kind, view.input_type(&application)) {
            (RequestKind::Configure, _) => Configuration::parse(body).map(drop),
            (_, Some(input_type)) => request::check(input_type)(kind, body),
            (_, None) => Ok(()),
        })
    }
}

impl ClipperPredictor {
    /// What the query frontend calls the application.
    pub(super) fn known_as(&self) -> &str {
        let application = &self.config.application;
        self.replicated.as_ref().map_or(application, |replicated| replicated.known_as(application))
    }

    /// Makes the change that a call asks for: its outcome depends on the log alone, and only then is the Clipper behind told.
    pub(super) async fn configure(&mut self, call: &Call) -> Result<CallOutcome, PredictorError> {
        let Some(replicated) = &self.replicated else {
            return Ok(CallOutcome::Rejected("this backend's deployment is not the log's".to_owned()));
        };
        let planned = Configuration::parse(&call.body)
            .and_then(|configuration| replicated.deployment.plan(&configuration));
        let Planned { after, changes, said } = match planned {
            Ok(planned) => planned,
            Err(why) => return Ok(CallOutcome::Rejected(why)),
        };
        self.renewal.begin(self.keeps_state(), None).await?;
        self.bring_all_about(&changes).await?;
        if let Some(replicated) = &mut self.replicated {
            replicated.set(after);
        }
        Ok(CallOutcome::Output(said.into()))
    }

    /// Makes on a fresh backend what a snapshot holds.
    pub(super) async fn make(&mut self, deployment: Deployment) -> Result<(), PredictorError> {
        self.bring_all_about(&deployment.changes()).await?;
        if let Some(replicated) = &mut self.replicated {
            replicated.set(deployment);
        }
        Ok(())
    }

    async fn bring_all_about(&mut self, changes: &[Change]) -> Result<(), PredictorError> {
        let ClipperConfig { call_timeout_ms, batch_inputs_max, settle_ms, .. } = self.config;
        let batch_inputs_max = self.keeps_state().then_some(batch_inputs_max);
        let Some(mut after) = self.replicated.as_ref().map(|replicated| replicated.deployment.clone()) else {
            return Ok(());
        };
        let mut told = Vec::new();
        for change in changes {
            // They have been planned: none is refused.
            let _ = after.apply(change);
            for change in self.named(&for_backend(change, call_timeout_ms, batch_inputs_max), &after).await? {
                self.bring_about(&change).await?;
                told.push(change);
            }
        }
        let application = self.known_as().to_owned();
        self.rules.path = path_of(&application);
        let shows = |change: &Change| matches!(change, Change::AddApp(_) | Change::DeleteApp { .. });
        if !self.rules.is_engine && !told.iter().all(shows) {
            // Nothing shows when the query frontend has heard of it, but a prediction would.
            sleep(Duration::from_millis(settle_ms)).await;
        }
        #[cfg(feature = "docker")]
        if let Renewal::Docker(docker) = &mut self.renewal {
            docker.wait_for(&application).await;
        }
        Ok(())
    }

    /// What to tell the Clipper behind for a change that makes `after`, in its names. An engine of Boat's forgets what is
    /// deleted, and knows no others.
    async fn named(&mut self, change: &Change, after: &Deployment) -> Result<Vec<Change>, PredictorError> {
        if self.rules.is_engine {
            return Ok(vec![change.clone()]);
        }
        if let Change::AddApp(application) = change {
            self.give_name(application).await?;
        }
        let names = self.replicated.as_ref().map(|replicated| &replicated.names);
        Ok(names.map(|names| names.translate(change, after)).unwrap_or_default())
    }

    async fn give_name(&mut self, application: &Application) -> Result<(), PredictorError> {
        for _ in 0..LEFT_OVER_MAX {
            let Some(Replicated { names, .. }) = &self.replicated else { return Ok(()) };
            if names.knows(application) {
                return Ok(());
            }
            let name = names.next(&application.name);
            let is_left_over = self.is_left_over(&name, application).await?;
            let Some(Replicated { names, .. }) = &mut self.replicated else { return Ok(()) };
            match is_left_over {
                true => names.take(name),
                false => {
                    names.give(application, name.clone());
                    if name != application.name {
                        log::info!(
                            "node {}: application {} is called {name} in Clipper, which would keep the type and the SLO \
                             that it had before",
                            self.config.node,
                            application.name
                        );
                    }
                }
            }
        }
        let why = format!(
            "Clipper's query frontend knows {LEFT_OVER_MAX} deleted applications like {}: restart it",
            application.name
        );
        Err(PredictorError::Unavailable(why))
    }

    /// Whether a name stands for something else with a Clipper that somebody else runs: for what its query frontend has not
    /// forgotten from another life of this node, perhaps. One of Boat's own on Docker is as old as the names.
    async fn is_left_over(&mut self, name: &str, wanted: &Application) -> Result<bool, PredictorError> {
        let management = self.replicated.as_mut().and_then(|replicated| replicated.management.as_mut());
        let (Renewal::External, Some(management), true) = (&self.renewal, management, stands_in_paths(name))
        else {
            return Ok(false);
        };
        let found = management.application(name).await;
        if let Some(found) = found.map_err(|error| PredictorError::Unavailable(error.to_string()))? {
            // Under its own name it is somebody's, and stands in the way.
            let is_another = (found.input_type, found.latency_slo_micros)
                != (wanted.input_type, wanted.latency_slo_micros);
            return Ok(is_another && name != wanted.name);
        }
        match self.ask_nothing_of(name).await {
            Ok(()) => Ok(true),
            // That is how Clipper answers for what it does not know.
            Err(ExchangeError::Unknown(_)) => Ok(false),
            Err(ExchangeError::NotSent(why)) => Err(PredictorError::Unavailable(why)),
        }
    }

    async fn bring_about(&mut self, change: &Change) -> Result<(), PredictorError> {
        match &mut self.renewal {
            Renewal::Engine(engine) => {
                let refused = |why| {
                    PredictorError::StateLost(format!("the engine refuses {}: {why}", change.endpoint()))
                };
                return engine.change(change).map(drop).map_err(refused);
            }
            Renewal::External => {
                let management =
                    self.replicated.as_mut().and_then(|replicated| replicated.management.as_mut());
                let Some(management) = management else {
                    let why = "changes of the deployment come with the log, and no management_address is configured";
                    return Err(PredictorError::Unavailable(why.to_owned()));
                };
                tell(management, change).await.map_err(PredictorError::Unavailable)?;
            }
            #[cfg(feature = "docker")]
            Renewal::Docker(docker) => {
                let failed = |error: DockerError| PredictorError::Unavailable(error.to_string());
                docker.change(change).await.map_err(failed)?;
            }
        }
        match change {
            // Of others nobody could ask.
            Change::AddApp(Application { name, .. }) if stands_in_paths(name) => self.until_heard(name).await,
            _ => Ok(()),
        }
    }

    /// Waits until the query frontend knows an application: until then it closes connections without a byte.
    async fn until_heard(&mut self, application: &str) -> Result<(), PredictorError> {
        let until = Instant::now() + HEARD_MAX;
        while self.ask_nothing_of(application).await.is_err() {
            if Instant::now() >= until {
                let why =
                    format!("the query frontend has not heard of application {application} in {HEARD_MAX:?}");
                return Err(PredictorError::Unavailable(why));
            }
            sleep(HEARD_PAUSE).await;
        }
        Ok(())
    }

    /// An error unless the query frontend knows an application.
    async fn ask_nothing_of(&mut self, application: &str) -> Result<(), ExchangeError> {
        // Neither key: refused by an application that is there, before anything runs.
        let path = path_of(application);
        self.connection.exchange(Method::POST, &path, Bytes::from_static(b"{}")).await.map(drop)
    }
}

/// The change as the Clipper behind is told it: no model must be given up by the clock before its call is, for nodes would
/// differ; and one that keeps state, which has a `batch_inputs_max`, must not be given inputs that nobody sent.
pub(crate) fn for_backend(change: &Change, call_timeout_ms: u64, batch_inputs_max: Option<usize>) -> Change {
    match (change, batch_inputs_max) {
        (Change::AddApp(application), _) => {
            let call_timeout_ms = i64::try_from(call_timeout_ms).unwrap_or(i64::MAX);
            let latency_slo_micros = call_timeout_ms
                .saturating_mul(1_000 * SLO_CALL_TIMEOUTS)
                .min(i64::from(i32::MAX))
                .max(application.latency_slo_micros);
            Change::AddApp(Application { latency_slo_micros, ..application.clone() })
        }
        (Change::AddModel(model), Some(inputs_max)) if model.batch_size <= 0 => {
            let batch_size = i32::try_from(inputs_max).unwrap_or(i32::MAX);
            Change::AddModel(ModelVersion { batch_size, ..model.clone() })
        }
        (other, _) => other.clone(),
    }
}
