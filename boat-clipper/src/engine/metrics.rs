//! The engine's counters in the shape of Clipper's `/metrics`.
//!
//! Four categories, each an array of one-key objects; every value is a string. The engine counts predictions; it keeps no
//! meters and no histograms, so these two arrays are empty.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Value, json};

use super::application::Application;

#[derive(Serialize)]
struct Metrics {
    counters: Vec<Value>,
    ratio_counters: Vec<Value>,
    meters: [Value; 0],
    histograms: [Value; 0],
}

/// The whole body: JSON with four spaces of indent, and a newline at its end.
pub(super) fn metrics<'a>(applications: impl Iterator<Item = &'a Application>) -> Vec<u8> {
    let (mut counters, mut ratios, mut aggregate) = (Vec::new(), Vec::new(), 0);
    for application in applications {
        let (predictions, defaults) = application.counts();
        let name = &application.config.name;
        counters.push(counter(format!("app:{name}:num_predictions"), predictions));
        ratios.push(ratio(format!("app:{name}:default_prediction_ratio"), defaults, predictions));
        if let Some(model) = &application.config.model {
            let name = format!("model:{}:{}:num_predictions", model.name, model.version);
            counters.push(counter(name, predictions.saturating_sub(defaults)));
        }
        aggregate += predictions;
    }
    counters.push(counter("internal:aggregate_num_predictions".to_owned(), aggregate));
    let all = Metrics { counters, ratio_counters: ratios, meters: [], histograms: [] };
    let mut body = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut body, PrettyFormatter::with_indent(b"    "));
    // Strings and arrays written into memory: there is nothing that could fail.
    let _ = all.serialize(&mut serializer);
    body.push(b'\n');
    body
}

fn counter(name: String, count: u64) -> Value {
    json!({ name: { "count": count.to_string() } })
}

fn ratio(name: String, part: u64, whole: u64) -> Value {
    let ratio = if whole == 0 { "nan".to_owned() } else { (part as f64 / whole as f64).to_string() };
    json!({ name: { "ratio": ratio } })
}
