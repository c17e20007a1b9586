//! When an upstream's document is read, and what becomes of it.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use framex_core::context::Context;
use framex_core::descriptor::ApiDescriptor;
use framex_core::error::Error;
use framex_core::id::ApiId;
use framex_core::plugin::Handler;
use framex_core::process::Process;
use framex_core::route::Route;
use futures_util::FutureExt as _;
use http::{HeaderValue, Method};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::document::{self, Imported};
use super::forward::{FetchError, Fetched, Forwarder, LONGEST_REST};
use super::operation::{Operation, Shape};
use super::surface::Surface;
use super::upstream::{Site, Upstream};

/// After a failure it is tried again, later each time, up to the usual pause.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// An upstream whose document is read again and again.
pub(crate) struct Watched {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) forwarder: Arc<Forwarder>,
    /// What none of its texts may name.
    sites: Arc<[Site]>,
    bridge: Arc<str>,
    refresh: Duration,
    found: Mutex<Found>,
    /// How often somebody has asked for it to be read, and how many of these it was read after.
    asked: watch::Sender<u64>,
    answered: watch::Sender<u64>,
}

/// What its document says, as it was last read.
#[derive(Default)]
struct Found {
    served: Vec<Arc<Served>>,
    skipped: Vec<String>,
    trouble: Option<String>,
    /// Which of its paths has the document, its version, and what it was.
    at: Option<(String, Option<HeaderValue>, Bytes)>,
    /// What could not be read, by its path, and why: it is not tried again.
    refused: HashMap<String, (Bytes, String)>,
}

/// An operation with what runs it.
pub(crate) struct Served {
    pub(crate) descriptor: Arc<ApiDescriptor>,
    pub(crate) shape: Arc<Shape>,
    pub(crate) handler: Arc<dyn Handler>,
}

impl Served {
    /// Whether it has the method; any will do if there is none.
    pub(crate) fn has(&self, method: Option<&Method>) -> bool {
        method.is_none_or(|method| *method == self.shape.method)
    }

    /// Where it is published.
    pub(crate) fn route(&self) -> Option<&Route> {
        self.descriptor.routes.first()
    }
}

impl Watched {
    pub(crate) fn new(
        upstream: Arc<Upstream>,
        sites: &Arc<[Site]>,
        bridge: &Arc<str>,
        refresh: Duration,
    ) -> Result<Arc<Self>, Error> {
        let forwarder = Forwarder::new(Arc::clone(&upstream), Arc::clone(bridge))?;
        Ok(Arc::new(Self {
            upstream,
            forwarder,
            sites: Arc::clone(sites),
            bridge: Arc::clone(bridge),
            refresh,
            found: Mutex::default(),
            asked: watch::Sender::new(1),
            answered: watch::Sender::new(0),
        }))
    }

    /// Reads the document, publishes what it says, and so on, for ever.
    pub(crate) async fn watch(self: Arc<Self>, surface: Arc<Surface>, ctx: Context) {
        let Ok(process) = ctx.process() else { return };
        let watched = async {
            tokio::join!(
                self.documents(&surface, &ctx, &process),
                self.forwarder.tell_circuit(&process)
            )
        };
        told(watched, &self.upstream.name, &process).await;
    }

    async fn documents(&self, surface: &Arc<Surface>, ctx: &Context, process: &Process) {
        let mut asked = self.asked.subscribe();
        let mut pause = FIRST_PAUSE;
        loop {
            let question = *asked.borrow_and_update();
            let read = self.look().await;
            let changed = self.take(process, read);
            if changed && let Err(error) = surface.publish(ctx) {
                tracing::debug!(%error, "operations are not published");
                return;
            }
            self.answered.send_replace(question);
            let well = self.found().trouble.is_none();
            if well {
                pause = FIRST_PAUSE;
            }
            tokio::select! {
                () = self.rest(well, pause) => {}
                asked = asked.changed() => if asked.is_err() { return },
            }
            if !well {
                pause = (pause * 2).min(self.refresh.max(FIRST_PAUSE));
            }
        }
    }

    /// Waits until the document is read again: `pause` where it could not be read `well`, and
    /// sooner than usual as well while the circuit breaker waits for somebody to see.
    async fn rest(&self, well: bool, pause: Duration) {
        let began = Instant::now();
        let usual = if well { self.refresh } else { pause };
        let usual = began + usual.min(self.refresh);
        let soon = began + pause.min(LONGEST_REST);
        let mut circuit = self.forwarder.circuit();
        loop {
            circuit.mark_unchanged();
            let open = self.forwarder.rests_until();
            let due = open.map_or(usual, |until| until.max(soon).min(usual));
            tokio::select! {
                () = sleep_until(due) => return,
                // Its sender is in `self`.
                _ = circuit.changed() => {}
            }
        }
    }

    /// The document, if it is another one than before.
    async fn look(&self) -> Result<Option<Imported>, String> {
        let known = self.found().at.clone();
        let paths: Vec<&String> = match &known {
            Some((path, ..)) => vec![path],
            None => self.upstream.docs.iter().collect(),
        };
        let etag = known.as_ref().and_then(|(_, etag, _)| etag.clone());
        // Some services answer every path with a page, others ask for a key first where there is
        // nothing: the document may be at the next one.
        let (mut missing, mut wrong) = (None, None);
        for path in paths {
            let (body, etag) = match self.forwarder.fetch(path, etag.as_ref()).await {
                Ok(Fetched::NotModified) => return Ok(None),
                Ok(Fetched::Document { body, etag }) => (body, etag),
                Err(FetchError::Status(status)) => {
                    missing.get_or_insert_with(|| trouble(path, FetchError::Status(status)));
                    if !status.is_server_error() {
                        self.found().at = None;
                    }
                    continue;
                }
                Err(FetchError::Failed(error)) => {
                    let text = trouble(path, &error);
                    let news = self.found().trouble.as_ref() != Some(&text);
                    if let Some(reason) = error.source().filter(|_| news) {
                        // For operators alone: it may say where the upstream is.
                        let upstream = &self.upstream.name;
                        let reason = in_full(reason.as_ref());
                        tracing::warn!(upstream, path, reason, "there is no document");
                    }
                    return Err(text);
                }
            };
            if known.as_ref().is_some_and(|(_, _, before)| *before == body) {
                return Ok(None);
            }
            let refused = self.found().refused.get(path).cloned();
            let imported = match refused.filter(|(before, _)| *before == body) {
                Some((_, reason)) => Err(reason),
                None => self.import(body.clone()).await?,
            };
            match imported {
                Ok(imported) => {
                    let mut found = self.found();
                    found.refused.clear();
                    found.at = Some((path.clone(), etag, body));
                    return Ok(Some(imported));
                }
                Err(reason) => {
                    wrong.get_or_insert_with(|| trouble(path, &reason));
                    self.found().refused.insert(path.clone(), (body, reason));
                }
            }
        }
        Err(wrong.or(missing).unwrap_or_default())
    }

    /// What `text` says, or why it says nothing.
    async fn import(&self, text: Bytes) -> Result<Result<Imported, String>, String> {
        let (upstream, bridge) = (Arc::clone(&self.upstream), Arc::clone(&self.bridge));
        let sites = Arc::clone(&self.sites);
        // It may be large, and this is not the only task here. It ends by itself.
        let import = tokio::task::spawn_blocking(move || {
            let imported = document::import(&text, &upstream, &sites, &bridge);
            imported.map_err(|error| error.to_string())
        });
        import.await.map_err(|_| "reading it failed".to_owned())
    }

    /// Takes over what was read; whether operations changed. What was there stays where there is
    /// trouble.
    fn take(&self, process: &Process, read: Result<Option<Imported>, String>) -> bool {
        let name = &self.upstream.name;
        let what = format!("document of {name}");
        let mut found = self.found();
        match read {
            Err(trouble) => {
                if found.trouble.as_ref() != Some(&trouble) {
                    tracing::warn!(upstream = name, "{trouble}; it is tried again");
                }
                process.degraded(what, format!("upstream `{name}`: {trouble}"));
                found.trouble = Some(trouble);
                false
            }
            Ok(None) => {
                found.trouble = None;
                process.restored(&what);
                false
            }
            Ok(Some(imported)) => {
                found.trouble = None;
                process.restored(&what);
                self.forwarder.set_framex(imported.is_framex);
                self.forwarder.set_known(Arc::clone(&imported.known));
                self.renew(&mut found, imported);
                true
            }
        }
    }

    fn renew(&self, found: &mut Found, imported: Imported) {
        let name = &self.upstream.name;
        let skipped: Vec<String> = imported
            .skipped
            .iter()
            .map(|skipped| format!("`{}`: {}", skipped.what, skipped.reason))
            .collect();
        let told: HashSet<&String> = found.skipped.iter().collect();
        for reason in skipped.iter().filter(|reason| !told.contains(reason)) {
            tracing::warn!(upstream = name, "an operation is left out: {reason}");
        }
        let before = std::mem::take(&mut found.served);
        let before: HashMap<ApiId, Arc<Served>> = before
            .into_iter()
            .map(|served| (served.descriptor.id.clone(), served))
            .collect();
        let same = |operation: &Operation| {
            let found = before.get(&operation.descriptor.id)?;
            let same = *found.descriptor == operation.descriptor && *found.shape == operation.shape;
            same.then(|| Arc::clone(found))
        };
        let operations = imported.operations.into_iter();
        found.served = operations
            .map(|operation| same(&operation).unwrap_or_else(|| self.serve(operation)))
            .collect();
        found.skipped = skipped;
        tracing::info!(
            upstream = name,
            title = imported.title,
            version = imported.version,
            operations = found.served.len(),
            left_out = found.skipped.len(),
            "its document was read"
        );
    }

    fn serve(&self, operation: Operation) -> Arc<Served> {
        let descriptor = Arc::new(operation.descriptor);
        let shape = Arc::new(operation.shape);
        let handler = self
            .forwarder
            .operation(Arc::clone(&descriptor), Arc::clone(&shape));
        Arc::new(Served {
            descriptor,
            shape,
            handler,
        })
    }

    /// Its operations.
    pub(crate) fn served(&self) -> Vec<Arc<Served>> {
        self.found().served.clone()
    }

    /// What is left out of its document, and why the document could not be read.
    pub(crate) fn troubles(&self) -> (Vec<String>, Option<String>) {
        let found = self.found();
        (found.skipped.clone(), found.trouble.clone())
    }

    /// Asks for its document to be read now.
    pub(crate) fn ask(&self) {
        self.asked.send_modify(|count| *count += 1);
    }

    /// Waits until it was read since it was last asked for.
    pub(crate) async fn looked(&self) {
        let question = *self.asked.borrow();
        let mut answered = self.answered.subscribe();
        // Its sender is in `self`: this ends with the answer alone.
        let _ = answered.wait_for(|answered| *answered >= question).await;
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn trouble(path: &str, error: impl Display) -> String {
    format!("its document at `{path}`: {error}")
}

/// An error with all its sources.
fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = sources.map(ToString::to_string).collect();
    texts.join(": ")
}

/// Runs what watches the upstream called `name`. That it breaks must not pass silently.
async fn told<T>(watched: impl Future<Output = T>, name: &str, process: &Process) {
    if AssertUnwindSafe(watched).catch_unwind().await.is_err() {
        tracing::error!(upstream = name, "its document is not read any more: a bug");
        let text = format!("upstream `{name}`: its document is not read any more, until a restart");
        process.degraded(format!("watch of {name}"), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_that_breaks_is_told() {
        let process = Process::default();
        told(async { assert_eq!(1, 2) }, "up", &process).await;
        let told = process.degradations();
        assert!(told[0].contains("`up`") && told.len() == 1, "{told:?}");
    }
}
