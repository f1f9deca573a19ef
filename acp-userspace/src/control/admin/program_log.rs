//! The programs' log on the admin socket: switched, and read from a number on, so that a follower asks again.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::kernel::KernelCommand;
use super::{Admin, Command, Surface, ask};
use crate::control::program_log::{Answer, KEPT_MAX, Said};
use crate::kernel::log::{self, Level};

/// Its routes.
pub(super) fn routes() -> Router<(Surface, mpsc::Sender<Command>)> {
    Router::new().route("/kernel/log", get(lines).post(switch))
}

#[derive(Debug, Deserialize)]
struct LinesRequest {
    /// The first line that is wanted.
    from: Option<u64>,
    max: Option<usize>,
}

async fn lines(State((_, commands)): Admin, Query(request): Query<LinesRequest>) -> Response {
    let (from, max) = (request.from.unwrap_or(0), request.max.unwrap_or(KEPT_MAX));
    let answer = ask(&commands, |answer| Command::Kernel(KernelCommand::Log(from, max, answer))).await;
    let Some(Answer { available, on, next, lost, lines }) = answer else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    Json(json!({
        "process": std::process::id(),
        "available": available,
        "level": on.map(|(level, _)| level),
        "seconds_left": on.map(|(_, seconds)| seconds),
        "next": next,
        "lost": lost,
        "lines": lines.iter().map(row).collect::<Vec<_>>(),
    }))
    .into_response()
}

fn row(said: &Said) -> Value {
    let Said { number, wall_ns, line, count } = said;
    let time = Timestamp::from_nanosecond(i128::from(*wall_ns)).unwrap_or_default();
    let mut row = json!({
        "number": number,
        "time": format!("{time:.3}"),
        "event": log::name(line),
        "address": log::address(line),
        "count": count,
    });
    if let Some(name) = log::detail_name(line) {
        row[name] = line.detail.into();
    }
    row
}

/// What is asked of the switch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRequest {
    /// How much is said.
    pub level: Level,
    /// For how long; 0 = nothing any more.
    pub seconds: u64,
}

async fn switch(State((_, commands)): Admin, Json(request): Json<LogRequest>) -> Response {
    match ask(&commands, |answer| Command::Kernel(KernelCommand::SetLog(request, answer))).await {
        Some(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Some(Err(why)) => (StatusCode::UNPROCESSABLE_ENTITY, why).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
