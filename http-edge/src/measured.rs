//! Pieces of the hot path, for the benches that count their instructions.

use bytes::Bytes;
use framex_bus::Catalog;
use http::Method;

use crate::auth::Rules;
use crate::body::EdgeBody;
use crate::envelope::success;
use crate::routes::{Found, Table};

/// A result in the envelope.
#[must_use]
pub fn envelope(data: Bytes) -> EdgeBody {
    success(data)
}

/// A route table.
pub struct Routes(Table);

impl Routes {
    /// The routes of `catalog`.
    #[must_use]
    pub fn new(catalog: &Catalog) -> Self {
        let heartbeat = std::time::Duration::from_secs(1);
        Self(Table::new(catalog, &Rules::default(), heartbeat).0)
    }

    /// Whether a GET of `path` finds a route.
    #[must_use]
    pub fn find(&self, path: &str) -> bool {
        matches!(self.0.find(&Method::GET, path), Found::Route(..))
    }
}
