//! What every bus promises: one suite, each transport through it.
//!
//! [`suite`] holds the promises, as functions over a [`Transport`]. A second
//! transport implements that trait and says `conformance!(its_name, ITS)`.

mod added;
mod adder;
mod bodies;
mod discovery;
mod durable;
mod fallback;
mod large;
mod local;
mod nats;
mod plugins;
mod serving;
mod suite;
mod ways;

use std::sync::Arc;
use std::time::Duration;

use framex::PluginDefinition;
use framex::bus::Bus;
use framex::settings::Loaded;

/// A way to get a bus with plugins on it.
trait Transport {
    /// A bus and whoever serves on it.
    type Served: Served;

    /// Serves `plugins`. Calls take at most `timeout` unless their APIs say otherwise.
    ///
    /// An error is what the start of a process would say.
    async fn serve(
        &self,
        plugins: &[PluginDefinition],
        timeout: Duration,
    ) -> Result<Self::Served, String>;
}

/// A bus that is served. Dropping it ends everything.
trait Served {
    /// The caller's side.
    fn bus(&self) -> Arc<dyn Bus>;

    /// Serves one more.
    async fn add(&self, plugin: PluginDefinition) -> Result<(), String>;

    /// Serves a plugin no more.
    async fn withdraw(&self, plugin: &str);

    /// Takes no new calls, waits up to `grace` for those that run; gives how
    /// many still do.
    async fn drain(&self, grace: Duration) -> usize;
}

/// Runs every promise of the suite against one transport.
macro_rules! conformance {
    ($module:ident, $transport:expr, [$($promise:ident),* $(,)?]) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $promise() {
                    let promise = crate::promises::$promise(&$transport);
                    framex_test_support::patiently(stringify!($promise), promise).await;
                }
            )*
        }
    };
    ($module:ident, $transport:expr) => {
        conformance!($module, $transport, [
            calls_by_id_path_and_method,
            results_of_every_kind,
            arguments_and_results_of_any_size,
            uploads_and_downloads_of_any_size,
            an_upload_is_taken_as_it_is_read,
            what_breaks_an_upload_or_a_download_off_is_told,
            a_dropped_download_drops_its_handler,
            errors_of_handlers_arrive_whole,
            foreign_errors_and_panics_tell_nothing,
            unknown_and_ambiguous_targets,
            an_api_that_nobody_serves_any_more,
            the_earlier_deadline_counts,
            a_deadline_that_has_passed_runs_nothing,
            nested_calls_inherit_the_deadline,
            a_dropped_call_drops_its_handler,
            a_dropped_stream_drops_its_handler,
            streams_arrive_in_order_and_end,
            streams_fail_as_they_should,
            streams_are_bounded_in_time_where_asked,
            a_slow_consumer_slows_its_producer,
            an_api_runs_as_many_calls_as_it_says,
            a_plugin_runs_as_many_calls_as_it_says,
            streams_hold_their_place_until_they_end,
            undeclared_calls_are_refused,
            everything_travels_along,
            calls_in_a_circle_end,
            changes_of_the_catalog_are_told,
            names_ids_and_routes_are_claimed_once,
            a_drain_finishes_what_runs,
            a_drain_gives_up_in_time,
            added_apis_come_change_and_go,
            added_apis_that_cannot_be_are_named,
            changes_disturb_nobody_else,
            bridged_routes_yield,
            requests_are_passed_as_they_came,
            trails_travel,
            who_is_gone_adds_nothing,
        ]);
    };
}

conformance!(in_one_process, crate::local::InOneProcess);
conformance!(over_one_server, crate::nats::OneServer);
conformance!(over_three_nodes, crate::nats::ThreeNodes);

/// All of them.
mod promises {
    pub(crate) use crate::added::*;
    pub(crate) use crate::bodies::*;
    pub(crate) use crate::suite::*;
}

/// Plugins without configuration are made from no settings at all.
fn no_settings() -> Loaded {
    framex::settings::Settings::load(&framex::settings::Sources {
        dir: "/nonexistent".into(),
        ..framex::settings::Sources::default()
    })
    .expect("defaults are valid")
}
