//! The exporter: the query frontend's metrics as Prometheus reads them.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Response, StatusCode};
use serde_json::Value;

use super::Failure;
use super::http::{ask, serve};

pub(crate) async fn run(query_frontend: String) -> Result<(), Failure> {
    let answer = move |_| {
        let query_frontend = query_frontend.clone();
        async move {
            let (status, metrics) = ask(&query_frontend, Method::GET, "/metrics", Bytes::new()).await?;
            let text = if status == StatusCode::OK {
                flat(&serde_json::from_slice(&metrics)?)
            } else {
                String::new()
            };
            let response =
                Response::builder().status(status).header("content-type", "text/plain; version=0.0.4");
            Ok(response.body(Full::new(text.into()))?)
        }
    };
    serve(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 1390)), answer).await
}

/// One gauge for each field that is a number.
fn flat(metrics: &Value) -> String {
    let mut text = String::new();
    let kinds = metrics.as_object().into_iter().flat_map(|kinds| kinds.values());
    let all = kinds.filter_map(Value::as_array).flatten().filter_map(Value::as_object).flatten();
    for (name, fields) in all {
        let name = name.replace([':', '-'], "_");
        for (field, value) in fields.as_object().into_iter().flatten() {
            let number = value.as_str().and_then(|value| value.parse::<f64>().ok());
            if let Some(number) = number {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{name}_{field} {number}");
            }
        }
    }
    text
}
