//! The broker by itself: what the other tests rely on when they start, freeze and
//! kill one, and what `nats.conf` lets whom do.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod servers;
