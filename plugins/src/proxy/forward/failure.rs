//! Why a request brought no answer, and what callers are told of it: a name for the kind,
//! the upstream's name, and never an address. The reason is for the log.

use std::time::Duration;

use framex_core::context::Context;
use framex_core::error::{BoxError, Error};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde_json::json;

/// How many bridges a call may come through.
const MOST_BRIDGES: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection, so nothing was sent.
    Unreachable(BoxError),
    /// What came is no answer, or it broke off. The upstream may have done what was asked.
    Broken(BoxError),
    /// The head of what came is larger than any that is read.
    TooLarge(BoxError),
    /// Nothing came for this long.
    TimedOut(Duration),
    /// Nothing was sent since others got no answer; it is tried again after this.
    Down(Duration),
    /// As many calls wait as may.
    Overloaded,
    /// The request's own fault: its body broke off, or cannot be made.
    Request(Error),
}

impl Failure {
    /// As the callers of `upstream` see it.
    pub(super) fn into_error(self, upstream: &str) -> Error {
        let gateway = StatusCode::BAD_GATEWAY;
        match self {
            Self::Unreachable(source) => {
                let text = format!("the upstream `{upstream}` cannot be reached");
                let error = Error::new(gateway, text).with_code("upstream_unreachable");
                error.with_source(source)
            }
            Self::Broken(source) => {
                let text = format!("the answer of the upstream `{upstream}` broke off or is none");
                let error = Error::new(gateway, text).with_code("upstream_broken");
                error.with_source(source)
            }
            Self::TooLarge(source) => {
                let text = format!(
                    "the headers of the answer of the upstream `{upstream}` are too many or too large"
                );
                let error = Error::new(gateway, text).with_code("upstream_headers");
                error.with_source(source)
            }
            Self::TimedOut(limit) => {
                let text = format!("the upstream `{upstream}` sent nothing for {limit:?}");
                Error::new(StatusCode::GATEWAY_TIMEOUT, text).with_code("upstream_timeout")
            }
            Self::Down(wait) => {
                let text = format!(
                    "the upstream `{upstream}` has not answered for a while; it is tried again soon"
                );
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                Error::new(gateway, text)
                    .with_code("upstream_down")
                    .with_header(RETRY_AFTER, seconds.into())
            }
            Self::Overloaded => {
                let text = format!("as many calls of the upstream `{upstream}` wait as may");
                Error::unavailable(text)
                    .with_code("overloaded")
                    .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
            }
            Self::Request(error) => error,
        }
    }

    /// Whether it says something of the upstream.
    pub(super) fn is_upstreams(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_) | Self::Broken(_) | Self::TimedOut(_)
        )
    }
}

/// The trail of a call that goes on through `bridge`.
///
/// # Errors
///
/// 508 if the call has been here, or came through too many bridges.
pub(crate) fn trail(ctx: &Context, bridge: &str, path: &str) -> Result<String, Error> {
    let Some(trail) = ctx.trail().filter(|trail| !trail.trim().is_empty()) else {
        return Ok(bridge.to_owned());
    };
    let mut bridges = trail.split(',').map(str::trim);
    if bridges.clone().count() >= MOST_BRIDGES || bridges.any(|id| id == bridge) {
        let text = format!("calls of `{path}` go in a circle between bridges");
        return Err(Error::new(StatusCode::LOOP_DETECTED, text)
            .with_code("loop_detected")
            .with_detail(json!({ "path": path, "trail": trail })));
    }
    Ok(format!("{trail}, {bridge}"))
}
