//! `GET /metrics`: Prometheus text.
//!
//! Written by hand: most figures are read off the node's status when they are asked for, and the rest are atomics, so a
//! registry of metric objects would only be filled to be emptied.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::StatusCode;

use super::{Frontend, Service};
use crate::Status;

/// The text's type: version 0.0.4 of Prometheus's exposition format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What requests are counted by: a fixed set, so that clients cannot grow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Predict,
    Feedback,
    Query,
    Session,
    Outcome,
    Status,
    Control,
    Admin,
    Probe,
    Other,
}

impl Route {
    const ALL: [Route; 10] = [
        Route::Predict,
        Route::Feedback,
        Route::Query,
        Route::Session,
        Route::Outcome,
        Route::Status,
        Route::Control,
        Route::Admin,
        Route::Probe,
        Route::Other,
    ];

    /// The route of a path.
    pub(super) fn of(path: &str) -> Route {
        match path {
            "/predict" => Route::Predict,
            "/feedback" => Route::Feedback,
            "/query" => Route::Query,
            "/sessions" => Route::Session,
            "/status" => Route::Status,
            "/control" => Route::Control,
            "/admin/members" | "/admin/leader" => Route::Admin,
            "/livez" | "/readyz" | "/metrics" => Route::Probe,
            path if path.starts_with("/admin/members/") => Route::Admin,
            path if path.starts_with("/outcomes/") => Route::Outcome,
            _ => Route::Other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Route::Predict => "predict",
            Route::Feedback => "feedback",
            Route::Query => "query",
            Route::Session => "session",
            Route::Outcome => "outcome",
            Route::Status => "status",
            Route::Control => "control",
            Route::Admin => "admin",
            Route::Probe => "probe",
            Route::Other => "other",
        }
    }
}

/// The statuses that are counted one by one, the usual ones first; the last place is for all others.
const STATUSES: [u16; 19] =
    [200, 503, 504, 202, 201, 400, 422, 404, 405, 408, 409, 410, 413, 415, 403, 500, 501, 507, 0];

/// Upper ends of the latency buckets, in seconds.
const BUCKETS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// What the frontend counts.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    requests: [[AtomicU64; STATUSES.len()]; Route::ALL.len()],
    latency: [AtomicU64; BUCKETS.len() + 1],
    latency_sum_us: AtomicU64,
    pub(super) connections_refused: AtomicU64,
}

impl Metrics {
    /// Counts one answer.
    pub(super) fn record(&self, route: Route, status: StatusCode, took: Duration) {
        let status =
            STATUSES.iter().position(|known| *known == status.as_u16()).unwrap_or(STATUSES.len() - 1);
        let row = Route::ALL.iter().position(|known| *known == route);
        if let Some(count) = row.and_then(|row| self.requests.get(row)?.get(status)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if route == Route::Predict {
            let seconds = took.as_secs_f64();
            let bucket = BUCKETS.iter().position(|end| seconds <= *end).unwrap_or(BUCKETS.len());
            if let Some(count) = self.latency.get(bucket) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.latency_sum_us.fetch_add(took_us, Ordering::Relaxed);
        }
    }

    fn write(&self, text: &mut MetricsText) {
        text.family("boat_http_requests_total", "counter", "Answered HTTP requests.");
        for (route, counts) in Route::ALL.iter().zip(&self.requests) {
            for (status, count) in STATUSES.iter().zip(counts) {
                let count = count.load(Ordering::Relaxed);
                let status = if *status == 0 { "other".to_owned() } else { status.to_string() };
                if count > 0 {
                    let labels = [("route", route.name()), ("status", status.as_str())];
                    text.sample("boat_http_requests_total", &labels, count);
                }
            }
        }
        self.write_latency(text);
        let refused = self.connections_refused.load(Ordering::Relaxed);
        text.counter("boat_http_connections_refused_total", "Connections beyond the limit.", refused);
    }

    fn write_latency(&self, text: &mut MetricsText) {
        const NAME: &str = "boat_http_predict_duration_seconds";
        text.family(NAME, "histogram", "From a prediction's head to its answer.");
        let mut total = 0;
        let ends = BUCKETS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (end, count) in ends.zip(&self.latency) {
            total += count.load(Ordering::Relaxed);
            text.sample("boat_http_predict_duration_seconds_bucket", &[("le", &end)], total);
        }
        let sum_seconds = Duration::from_micros(self.latency_sum_us.load(Ordering::Relaxed)).as_secs_f64();
        text.sample("boat_http_predict_duration_seconds_sum", &[], sum_seconds);
        text.sample("boat_http_predict_duration_seconds_count", &[], total);
    }
}

/// The page as it is written. Names start with `boat_`, end with a base unit (`_seconds`, `_bytes`), and with `_total` if
/// they only rise.
///
/// ```
/// let mut text = boat_core::http::MetricsText::default();
/// text.counter("boat_log_syncs_total", "Syncs of the log.", 7);
/// assert!(text.as_str().ends_with("\nboat_log_syncs_total 7\n"));
/// ```
#[derive(Debug, Default)]
pub struct MetricsText {
    text: String,
}

impl MetricsText {
    /// Adds a figure that only rises.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    /// Adds a figure that rises and falls.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    /// Starts a family of samples; `kind` is `counter`, `gauge` or `histogram`. Its samples follow.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// Adds one sample of the family that was started last.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (number, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let open = if number == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{label}=\"{value}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
    }

    /// The text so far.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The whole page.
pub(super) fn render<S: Service>(frontend: &Frontend<S>) -> String {
    let mut text = MetricsText::default();
    write_status(&mut text, &frontend.service.status());
    text.gauge("boat_http_connections", "Connections that are served now.", frontend.connections_open());
    frontend.metrics.write(&mut text);
    frontend.service.metrics(&mut text);
    text.text
}

fn write_status(text: &mut MetricsText, status: &Status) {
    text.gauge("boat_leader", "1 while this node leads.", u8::from(status.is_leader));
    text.gauge("boat_ready", "1 while this node answers predictions.", u8::from(status.ready));
    text.gauge("boat_term", "The latest term this node has seen.", status.term);
    text.gauge("boat_position", "The position of the last request applied.", status.position);
    text.gauge("boat_waiting_requests", "Requests that wait for their answers.", status.waiting);
    text.gauge("boat_backend_healthy", "1 while the backend works.", u8::from(status.backend.healthy));
    let rebuilds = status.backend.rebuilds;
    text.counter("boat_backend_rebuilds_total", "How often the backend's state was rebuilt.", rebuilds);
    if let Some(replay) = status.replay {
        text.gauge("boat_replay_index", "The last entry replayed.", replay.applied_index);
        text.gauge(
            "boat_replay_target_index",
            "The entry that the replay has to reach.",
            replay.target_index,
        );
    }
    text.family("boat_member_connected", "gauge", "1 while this node is connected to the member.");
    for member in &status.members {
        let labels = [("member", member.node.to_string()), ("role", member.role.to_owned())];
        let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
        text.sample("boat_member_connected", &labels, u8::from(member.connected));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stand_by_route_and_status() {
        let metrics = Metrics::default();
        metrics.record(Route::Predict, StatusCode::OK, Duration::from_micros(300));
        metrics.record(Route::Predict, StatusCode::OK, Duration::from_secs(20));
        metrics.record(Route::Other, StatusCode::IM_A_TEAPOT, Duration::ZERO);
        let mut text = MetricsText::default();
        metrics.write(&mut text);
        for line in [
            "boat_http_requests_total{route=\"predict\",status=\"200\"} 2",
            "boat_http_requests_total{route=\"other\",status=\"other\"} 1",
            "boat_http_predict_duration_seconds_bucket{le=\"0.00025\"} 0",
            "boat_http_predict_duration_seconds_bucket{le=\"0.0005\"} 1",
            "boat_http_predict_duration_seconds_bucket{le=\"+Inf\"} 2",
            "boat_http_predict_duration_seconds_sum 20.0003",
            "boat_http_predict_duration_seconds_count 2",
        ] {
            assert!(text.as_str().lines().any(|found| found == line), "{line} is not in\n{}", text.as_str());
        }
    }

    #[test]
    fn a_label_cannot_break_out() {
        let mut text = MetricsText::default();
        text.sample("m", &[("l", "a\"b\\c\nd"), ("k", "v")], 1);
        assert_eq!(text.as_str(), "m{l=\"a\\\"b\\\\c\\nd\",k=\"v\"} 1\n");
    }
}
