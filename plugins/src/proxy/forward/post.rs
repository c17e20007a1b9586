//! One JSON document that is sent as it is, and the whole answer to it: for functions that run
//! on another system.

use bytes::Bytes;
use framex_core::body::ByteStream;
use framex_core::context::Context;
use framex_core::error::{Error, Result};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use super::answer::Body;
use super::outgoing::Outgoing;
use super::{Forwarder, headers, target, trail};

/// The largest answer, in bytes.
const MOST: usize = 64 << 20;

/// What an upstream answered.
pub(crate) struct Posted {
    /// Its status, whatever it is.
    pub(crate) status: StatusCode,
    /// Its headers, all of them.
    pub(crate) headers: HeaderMap,
    /// All of its body.
    pub(crate) body: Bytes,
}

impl Forwarder {
    /// Posts `json` to `path`, below the URL of the upstream: once, whatever becomes of it. A
    /// circle is told as one of calls of `what`.
    ///
    /// # Errors
    ///
    /// Those of forwarding; an answer is none, whatever it says.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub(crate) async fn post(
        &self,
        ctx: &Context,
        path: &str,
        json: Bytes,
        what: &str,
    ) -> Result<Posted> {
        let trail = trail(ctx, &self.bridge, what)?;
        let mut told = self.told(self.key_for(path)?, &trail)?;
        // Who asks for a function is this system, and none of its clients.
        told.forward_authorization = false;
        let mut headers = headers::named(ctx, told, &Method::POST);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut request = Request::new(Outgoing::Full(json));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target::onward(path, "", &self.upstream.path)?;
        *request.headers_mut() = headers;
        let (head, pieces) = self.send(request).await?;
        let name = &self.upstream.name;
        let body = ByteStream::new(Body::new(pieces, name)).collect(MOST).await;
        let body = body.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let text =
                    format!("the answer of the upstream `{name}` is larger than {MOST} bytes");
                Error::new(StatusCode::BAD_GATEWAY, text).with_code("upstream_broken")
            }
            _ => error,
        })?;
        Ok(Posted {
            status: head.status,
            headers: head.headers,
            body,
        })
    }
}
