//! Whether a Clipper that Boat did not start gives every input to the model, or answers repeats from its cache.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::InputType;

/// The metric that tells: above 0 once a repeated input was answered from the cache.
const HIT_RATIO: &str = "internal:prediction_cache_hit_ratio";

#[derive(Deserialize)]
struct Metrics {
    ratio_counters: Vec<BTreeMap<String, Ratio>>,
}

#[derive(Deserialize)]
struct Ratio {
    ratio: String,
}

/// What is asked twice, as a request's body.
pub(super) fn body(input_type: InputType) -> &'static str {
    match input_type {
        InputType::Bytes => r#"{"input":"Ym9hdA=="}"#,
        InputType::Integers => r#"{"input":[1]}"#,
        InputType::Floats | InputType::Doubles => r#"{"input":[1.0]}"#,
        InputType::Strings => r#"{"input":"boat probe"}"#,
    }
}

/// Reads Clipper's `/metrics` after the probe. The error says what is wrong, and what helps.
pub(super) fn check(metrics: &[u8]) -> Result<(), String> {
    let metrics: Metrics = serde_json::from_slice(metrics)
        .map_err(|error| format!("GET /metrics gave something else than Clipper's metrics: {error}"))?;
    let ratio = metrics.ratio_counters.iter().find_map(|counter| counter.get(HIT_RATIO));
    match ratio.map(|ratio| ratio.ratio.parse::<f64>()) {
        // Not a number where nothing was looked up.
        Some(Ok(ratio)) if ratio > 0.0 => Err(format!(
            "it answers repeated inputs from its cache (hit ratio {ratio}), so that they never reach the model: start its query \
             frontend with --prediction_cache_size=1"
        )),
        Some(Ok(_)) => Ok(()),
        _ => Err(format!(
            "its metrics have no {HIT_RATIO}, so that nobody knows whether it answers from its cache"
        )),
    }
}

#[cfg(test)]
mod tests {
    use boat_core::RequestKind;

    use super::*;
    use crate::request;

    #[test]
    fn a_hit_tells_of_a_cache() {
        let metrics = |ratio: &str| {
            format!(
                r#"{{"ratio_counters":[{{"x":{{"ratio":"1"}}}},{{"{HIT_RATIO}":{{"ratio":"{ratio}"}}}}]}}"#
            )
        };
        assert!(check(metrics("0.5").as_bytes()).unwrap_err().contains("--prediction_cache_size=1"));
        assert_eq!((check(metrics("0").as_bytes()), check(metrics("nan").as_bytes())), (Ok(()), Ok(())));
        assert!(check(br#"{"ratio_counters":[]}"#).unwrap_err().contains("have no"));
        assert!(check(b"hello").is_err());
    }

    #[test]
    fn every_type_has_a_probe() {
        for input_type in
            [InputType::Bytes, InputType::Integers, InputType::Floats, InputType::Doubles, InputType::Strings]
        {
            assert!(request::parse(input_type, RequestKind::Predict, body(input_type).as_bytes()).is_ok());
        }
    }
}
