//! Whether the daemon is well, for whatever watches it, and numbers about it.

use laneway_api::routes;
use std::fmt::Write;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use laneway_api::version::VERSION;
use laneway_store::Store;

use super::{All, Failure};

/// Whether the daemon serves.
#[utoipa::path(
    get,
    path = routes::HEALTH,
    operation_id = "show_health",
    tag = "health",
    responses((status = 200, body = String, content_type = "text/plain", description = "it does")),
    security(()),
)]
pub(super) async fn alive() -> &'static str {
    "ok"
}

/// The record can be read: requests can be answered.
#[utoipa::path(
    get,
    path = routes::READY,
    operation_id = "show_ready",
    tag = "health",
    responses((status = 200, body = String, content_type = "text/plain", description = "they can"), (status = 503, body = String, content_type = "text/plain", description = "they cannot")),
    security(()),
)]
pub(super) async fn ready(State(served): All) -> Response {
    if served.closing.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "ending").into_response();
    }
    match served.engine.read(Store::last_seq).await {
        Ok(_) => "ready".into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the record cannot be read").into_response(),
    }
}

/// In the text format of Prometheus.
#[utoipa::path(
    get,
    path = routes::METRICS,
    operation_id = "show_metrics",
    tag = "health",
    responses((status = 200, body = String, content_type = "text/plain", description = "in its text format")),
)]
pub(super) async fn metrics(State(served): All) -> Result<Response, Failure> {
    let (counts, last_seq) = served.engine.read(|store| Ok((store.counts()?, store.last_seq()?))).await?;
    let mut text = String::new();
    let mut add = |name: &str, kind: &str, help: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{value}\n");
    };
    add("laneway_info", "gauge", "The daemon and its version.", format!("{{version=\"{VERSION}\"}} 1"));
    let started = served.engine.started_at.0 / 1_000_000;
    add("laneway_start_time_seconds", "gauge", "When it began, since 1970.", format!(" {started}"));
    add("laneway_lanes_open", "gauge", "Lanes that are not closed.", format!(" {}", counts.unclosed_lanes));
    add("laneway_runs_live", "gauge", "Runs that have not ended.", format!(" {}", counts.live_runs));
    add("laneway_events_total", "counter", "Events that were ever recorded.", format!(" {last_seq}"));
    let n_sockets = served.sockets.n_taken();
    add("laneway_websockets", "gauge", "WebSockets that are connected.", format!(" {n_sockets}"));
    if let Some(bytes) = resident_bytes() {
        add("process_resident_memory_bytes", "gauge", "Memory of the daemon.", format!(" {bytes}"));
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

/// Memory that this process has, by `/proc/self/statm`.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
