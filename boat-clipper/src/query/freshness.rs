//! Whether a Clipper that somebody else runs has answered anything yet.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::names::is_of;

#[derive(Deserialize)]
struct Metrics {
    counters: Vec<BTreeMap<String, Counter>>,
}

#[derive(Deserialize)]
struct Counter {
    count: String,
}

/// Reads Clipper's `/metrics`. The application may be missing where it is yet to be made. The error says what is wrong, and
/// what helps.
pub(super) fn check(metrics: &[u8], application: &str, may_be_missing: bool) -> Result<(), String> {
    let metrics: Metrics = serde_json::from_slice(metrics)
        .map_err(|error| format!("GET /metrics gave something else than Clipper's metrics: {error}"))?;
    let of_application = |name: &str| {
        let name = name.strip_prefix("app:").and_then(|name| name.strip_suffix(":num_predictions"));
        name.is_some_and(|name| is_of(name, application))
    };
    let all = metrics.counters.iter().flatten().filter(|(name, _)| of_application(name));
    let mut counts = all.map(|(_, counter)| counter.count.as_str());
    let first = counts.next();
    match counts.find(|count| *count != "0").or(first) {
        Some("0") => Ok(()),
        Some(count) => Err(format!(
            "application {application} has answered {count} predictions already, so its model is not fresh; restart the \
             query frontend and the model container, and Boat replays what it must"
        )),
        None if may_be_missing => Ok(()),
        None => Err(format!("there is no application {application}; create it and link its model")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_application_that_has_answered_nothing_is_fresh() {
        let metrics = |count: &str| {
            format!(
                r#"{{"counters":[{{"internal:x":{{"count":"9"}}}},{{"app:default2:num_predictions":{{"count":"9"}}}},
                {{"app:default:num_predictions":{{"count":"0"}}}},{{"app:default.boat2:num_predictions":{{"count":{count}}}}}],
                "ratio_counters":[{{"y":{{"ratio":"nan"}}}}],"meters":[],"histograms":[]}}"#
            )
        };
        assert_eq!(check(metrics("\"0\"").as_bytes(), "default", false), Ok(()));
        assert!(
            check(metrics("\"7\"").as_bytes(), "default", false)
                .unwrap_err()
                .contains("answered 7 predictions")
        );
        assert!(
            check(metrics("\"0\"").as_bytes(), "other", false).unwrap_err().contains("no application other")
        );
        assert_eq!(check(metrics("\"0\"").as_bytes(), "other", true), Ok(()));
        assert!(check(metrics("0").as_bytes(), "default", false).is_err());
        assert!(check(b"hello", "default", true).is_err());
    }
}
