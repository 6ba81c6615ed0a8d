//! The engine's figures in the shape of Clipper's `/metrics`.
//!
//! Four categories, each an array of one-key objects; every value is a string. The engine has no cache, so that nothing is
//! ever looked up in it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::gauges::{Histogram, Meter};
use crate::deployment::{MODEL_VERSIONS_MAX, ModelId};

/// How many versions of models are measured: containers may come for more than there are.
const MODELS_MAX: usize = MODEL_VERSIONS_MAX;

/// What one request gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    outputs: u64,
    defaults: u64,
}

impl Counts {
    pub(super) fn of<T, E>(outputs: &[Result<T, E>]) -> Self {
        let good = outputs.iter().filter(|output| output.is_ok()).count();
        Counts { outputs: good as u64, defaults: (outputs.len() - good) as u64 }
    }

    fn all(self) -> u64 {
        self.outputs + self.defaults
    }
}

/// Everything that is measured.
#[derive(Debug)]
pub(super) struct Meters {
    applications: BTreeMap<String, Served>,
    models: BTreeMap<ModelId, Served>,
    batches: BTreeMap<ModelId, Histogram>,
    predictions: u64,
    throughput: Meter,
}

#[derive(Debug)]
struct Served {
    predictions: u64,
    defaults: u64,
    throughput: Meter,
    latency_micros: Histogram,
}

impl Served {
    fn new(now: Instant) -> Self {
        let (throughput, latency_micros) = (Meter::new(now), Histogram::new("microseconds"));
        Served { predictions: 0, defaults: 0, throughput, latency_micros }
    }

    fn add(&mut self, predictions: u64, defaults: u64, micros: f64, now: Instant) {
        self.predictions += predictions;
        self.defaults += defaults;
        self.throughput.add(predictions, now);
        if predictions > 0 {
            self.latency_micros.add(micros);
        }
    }
}

impl Meters {
    pub(super) fn new(now: Instant) -> Self {
        Meters {
            applications: BTreeMap::new(),
            models: BTreeMap::new(),
            batches: BTreeMap::new(),
            predictions: 0,
            throughput: Meter::new(now),
        }
    }

    /// An application is there from now on.
    pub(super) fn open_application(&mut self, name: &str, now: Instant) {
        if !self.applications.contains_key(name) {
            self.applications.insert(name.to_owned(), Served::new(now));
        }
    }

    /// A replica serves a version of a model from now on.
    pub(super) fn open_model(&mut self, id: &ModelId, now: Instant) {
        if !self.models.contains_key(id) && self.models.len() < MODELS_MAX {
            self.models.insert(id.clone(), Served::new(now));
            self.batches.insert(id.clone(), Histogram::new("queries"));
        }
    }

    /// A request was answered that came at `started`.
    pub(super) fn answered(
        &mut self,
        application: &str,
        model: Option<&ModelId>,
        counts: Counts,
        started: Instant,
        now: Instant,
    ) {
        let micros = now.saturating_duration_since(started).as_micros() as f64;
        if let Some(served) = self.applications.get_mut(application) {
            served.add(counts.all(), counts.defaults, micros, now);
        }
        if let Some(served) = model.and_then(|id| self.models.get_mut(id)) {
            served.add(counts.outputs, 0, micros, now);
        }
        self.predictions += counts.all();
        self.throughput.add(counts.all(), now);
    }

    /// A replica was given this many inputs at once.
    pub(super) fn batch(&mut self, id: &ModelId, inputs: usize) {
        if let Some(batches) = self.batches.get_mut(id) {
            batches.add(inputs as f64);
        }
    }

    /// The whole body: JSON with four spaces of indent, and a newline at its end.
    pub(super) fn show(&mut self, now: Instant) -> Vec<u8> {
        let mut shown = Shown::default();
        for (name, served) in &mut self.applications {
            let ratio = match served.predictions {
                0 => "nan".to_owned(),
                predictions => (served.defaults as f64 / predictions as f64).to_string(),
            };
            shown
                .ratio_counters
                .push(named(&format!("app:{name}:default_prediction_ratio"), json!({ "ratio": ratio })));
            shown.served(&format!("app:{name}"), served, now);
        }
        for (id, served) in &mut self.models {
            let never = json!({ "ratio": "nan" });
            shown.ratio_counters.push(named(&format!("model:{id}:cache_hit_ratio"), never));
            shown.served(&format!("model:{id}"), served, now);
        }
        for (id, batches) in &self.batches {
            shown.histograms.push(named(&format!("model:{id}:batch_size"), batches.show()));
        }
        shown.counter("internal:aggregate_num_predictions", self.predictions);
        shown.counter("internal:prediction_cache_lookups", 0);
        shown.ratio_counters.push(named("internal:prediction_cache_hit_ratio", json!({ "ratio": "nan" })));
        shown.meters.push(named("internal:aggregate_model_throughput", self.throughput.show(now)));
        shown.to_body()
    }
}

#[derive(Default, Serialize)]
struct Shown {
    counters: Vec<Value>,
    ratio_counters: Vec<Value>,
    meters: Vec<Value>,
    histograms: Vec<Value>,
}

impl Shown {
    fn served(&mut self, name: &str, served: &mut Served, now: Instant) {
        self.counter(&format!("{name}:num_predictions"), served.predictions);
        self.meters.push(named(&format!("{name}:prediction_throughput"), served.throughput.show(now)));
        self.histograms.push(named(&format!("{name}:prediction_latency"), served.latency_micros.show()));
    }

    fn counter(&mut self, name: &str, count: u64) {
        self.counters.push(named(name, json!({ "count": count.to_string() })));
    }

    fn to_body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let mut serializer = Serializer::with_formatter(&mut body, PrettyFormatter::with_indent(b"    "));
        // Strings and arrays written into memory: there is nothing that could fail.
        let _ = self.serialize(&mut serializer);
        body.push(b'\n');
        body
    }
}

fn named(name: &str, fields: Value) -> Value {
    json!({ name: fields })
}
