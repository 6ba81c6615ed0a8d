//! What clients, model containers and query frontends send, under attack: see [`boat_core::fuzzing`]. For Boat's own proof, and
//! no part of this crate's interface.

use boat_core::RequestKind;
use boat_core::fuzzing::{Broken, Read, Target, Verdict, round_trip};

use crate::deployment::{Configuration, Look};
use crate::{Change, InputType, answer, deployment_file, request, rpc, zmtp};

const INPUT_TYPES: [InputType; 5] =
    [InputType::Bytes, InputType::Integers, InputType::Floats, InputType::Doubles, InputType::Strings];

/// The decoders of this crate.
pub fn targets() -> Vec<Target> {
    let mut targets = vec![
        Target { name: "query_body", run: query_body, samples: query_bodies },
        Target { name: "query_answer", run: query_answer, samples: query_answers },
        Target { name: "configuration", run: configuration, samples: configurations },
        Target { name: "management_body", run: management_body, samples: management_bodies },
        Target { name: "deployment_file", run: file, samples: files },
    ];
    targets.extend(rpc::fuzzing::targets());
    targets.extend(zmtp::fuzzing::targets());
    targets
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// What a client asks, for a model of each type. What one element says alone is what it says in a batch.
fn query_body(input: &[u8]) -> Verdict {
    let mut read = Read::Refused;
    for input_type in INPUT_TYPES {
        for kind in [RequestKind::Predict, RequestKind::Feedback] {
            let Ok(elements) = request::parse(input_type, kind, input) else { continue };
            read = Read::Whole;
            if kind == RequestKind::Feedback {
                continue;
            }
            let batch: Vec<&str> = elements.iter().map(|element| &*element.json).collect();
            let batch = format!("{{\"input_batch\":[{}]}}", batch.join(","));
            let again = request::parse(input_type, kind, batch.as_bytes());
            // By their text: numbers that are none do not equal themselves.
            let again = again.map(|again| format!("{again:?}"));
            if again != Ok(format!("{elements:?}")) {
                return Err(Broken(format!("{elements:?} was written as {batch}, and read as {again:?}")));
            }
        }
    }
    Ok(read)
}

fn query_bodies() -> Vec<Vec<u8>> {
    texts([
        r#"{"input": "Hello, \u00e4 \"x\""}"#,
        r#"{"input_batch": ["a", "\u0062", "a"]}"#,
        r#"{"input": [1.0, -2.5e3]}"#,
        r#"{"input_batch": [[1, -2], [3]]}"#,
        r#"{"input": "aGk="}"#,
    ])
}

fn query_answer(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(Read::Refused) };
    let whole = [1, 2].into_iter().filter(|count| answer::read_answer(text, *count).is_ok()).count();
    Ok(if whole > 0 { Read::Whole } else { Read::Refused })
}

fn query_answers() -> Vec<Vec<u8>> {
    texts([
        r#"{"query_id":0,"output":"Hello","default":false}"#,
        r#"{"query_id":1,"output":[1],"default":true,"default_explanation":"too \"late\""}"#,
        r#"{"batch_predictions":[{"query_id":0,"output":1,"default":false},{"query_id":0,"output":2,"default":false}]}"#,
    ])
}

fn configuration(input: &[u8]) -> Verdict {
    round_trip(Configuration::parse(input), |read| Configuration::parse(read.to_body().as_bytes()))
}

fn configurations() -> Vec<Vec<u8>> {
    let begin = Configuration::Begin(crate::Beginning { begin: crate::default_deployment() });
    vec![begin.to_body().into_bytes(), br#"{"delete_app":{"name":"a"}}"#.to_vec()]
}

/// What may stand behind each of the management frontend's paths.
fn management_body(input: &[u8]) -> Verdict {
    const CHANGES: [&str; 5] = ["add_app", "delete_app", "add_model", "set_model_version", "add_model_links"];
    const LOOKS: [&str; 4] = ["get_all_models", "get_container", "get_state", "get_model"];
    let changes = CHANGES.iter().filter(|endpoint| matches!(Change::parse(endpoint, input), Some(Ok(_))));
    let looks = LOOKS.iter().filter(|endpoint| matches!(Look::parse(endpoint, input), Some(Ok(_))));
    Ok(if changes.count() + looks.count() > 0 { Read::Whole } else { Read::Refused })
}

fn management_bodies() -> Vec<Vec<u8>> {
    texts([
        r#"{"name":"a","input_type":"strings","default_output":"none","latency_slo_micros":100000}"#,
        r#"{"name":"a"}"#,
        r#"{"verbose":true}"#,
    ])
}

fn file(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Ok(Read::Refused) };
    let read = deployment_file::parse_deployment(text);
    Ok(if read.is_ok() { Read::Whole } else { Read::Refused })
}

fn files() -> Vec<Vec<u8>> {
    texts([include_str!("default-deployment.toml")])
}
