//! An edge on a bus whose catalog is others': what they claim comes and goes,
//! and may be wrong.

mod bridged;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use framex::bus::{Api, Bus, Call, Catalog, Fallback, LocalBus};
use framex::descriptor::{ApiDescriptor, ApiKind, PluginMetadata};
use framex::edge::{Condition, Edge, Options, Status, dashboard, server};
use framex::id::ApiId;
use framex::route::Route;
use framex::settings::Settings;
use framex::{CallError, Reply};
use framex_core::context::{Caller, Request, Scope};
use framex_core::plugin::{AddedApi, Refused};
use framex_core::process::Process;
use framex_test_support::raw::Ask;
use framex_test_support::{log, until};
use futures_core::future::BoxFuture;
use tokio::sync::watch;

/// A bus that knows what others claim to serve.
struct Others {
    local: Arc<LocalBus>,
    catalog: Mutex<Arc<Catalog>>,
    changes: watch::Sender<u64>,
    attending: Arc<AtomicUsize>,
}

impl Others {
    fn new(claims: &[(&str, &str)]) -> Arc<Self> {
        let others = Self {
            local: LocalBus::new(std::time::Duration::from_secs(10)),
            catalog: Mutex::default(),
            changes: watch::Sender::new(0),
            attending: Arc::default(),
        };
        others.claim(claims);
        Arc::new(others)
    }

    /// Each an API id and its route, in place of all before.
    fn claim(&self, claims: &[(&str, &str)]) {
        self.describe(claims.iter().map(|(id, route)| api(id, route)));
    }

    /// As [`Others::claim`], in their own words.
    fn describe(&self, apis: impl IntoIterator<Item = ApiDescriptor>) {
        let described = apis.into_iter().map(|api| (PluginMetadata::default(), api));
        *self.catalog.lock().unwrap() = Arc::new(Catalog::from_descriptors(described));
        self.changes.send_modify(|count| *count += 1);
    }
}

fn api(id: &str, route: &str) -> ApiDescriptor {
    let mut descriptor = ApiDescriptor::new(ApiId::parse(id).unwrap(), ApiKind::Http);
    let (method, path) = route.split_once(' ').unwrap();
    descriptor.routes.push(Route {
        method: method.parse().unwrap(),
        path: path.to_owned(),
    });
    descriptor
}

impl Bus for Others {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.lock().unwrap())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn call(&self, api: &Arc<Api>, request: Request) -> Call {
        self.local.call(api, request)
    }

    fn set_fallback(&self, fallback: Arc<dyn Fallback>) {
        self.local.set_fallback(fallback);
    }

    fn fallback(&self) -> Option<&Arc<dyn Fallback>> {
        self.local.fallback()
    }

    fn attend(&self) -> Option<BoxFuture<'static, ()>> {
        struct Attending(Arc<AtomicUsize>);
        impl Drop for Attending {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let count = Arc::clone(&self.attending);
        Some(Box::pin(async move {
            count.fetch_add(1, Ordering::SeqCst);
            let _attending = Attending(count);
            std::future::pending::<()>().await;
        }))
    }
}

impl Caller for Others {
    fn call_from(
        &self,
        scope: &Scope,
        target: &str,
        request: Request,
    ) -> BoxFuture<'static, Result<Reply, CallError>> {
        self.local.call_from(scope, target, request)
    }

    fn add_apis(&self, scope: &Scope, apis: Vec<AddedApi>) -> Vec<Refused> {
        self.local.add_apis(scope, apis)
    }

    fn process(&self) -> &Arc<Process> {
        self.local.process()
    }
}

fn options() -> Options {
    let mut settings = Settings::default();
    let rule = "/api/v1/later".to_owned();
    settings.auth.rules.insert(rule, vec!["k".into()]);
    Options {
        open: true,
        ..Options::from(&settings)
    }
}

fn edge(bus: &Arc<Others>) -> (Edge, Arc<Status>) {
    let status = Arc::new(Status::new("1.0.0"));
    status.ready();
    let bus: Arc<dyn Bus> = Arc::clone(bus) as _;
    let edge = Edge::new(bus, Arc::clone(&status), options());
    (edge.unwrap(), status)
}

fn serve(edge: &Edge, threads: usize) -> server::Server {
    let socket = server::bind("127.0.0.1", 0, "--port", "server.port").unwrap();
    let options = server::Options {
        threads,
        ..(&Settings::default().server).into()
    };
    server::Server::start(socket, edge.clone(), options).unwrap()
}

async fn stop(server: server::Server) -> usize {
    let stopped = tokio::task::spawn_blocking(move || server.stop());
    stopped.await.unwrap()
}

#[tokio::test]
async fn what_others_claim_wrongly_is_left_out_and_logged_once() {
    log::keep();
    let bus = Others::new(&[
        ("a.A.good", "GET /api/v1/good"),
        ("b.B.same", "GET /api/v1/good"),
        ("b.B.health", "GET /health"),
        ("b.B.page", "GET /docs/x"),
        ("b.B.broken", "GET /api/v1/{"),
        ("b.B.post", "POST /api/v1/good"),
    ]);
    let (edge, _) = edge(&bus);
    edge.update();
    let server = serve(&edge, 1);
    let ask = async |method: &str, path: &str| {
        let answer = Ask::new(server.address(), method, path).send().await;
        (answer.status, answer.text().to_owned())
    };
    // Known, but nobody serves it.
    for method in ["GET", "POST"] {
        let (status, text) = ask(method, "/api/v1/good").await;
        assert_eq!(status, 503, "{text}");
    }
    let (status, text) = ask("GET", "/health").await;
    assert_eq!((status, &*text), (200, "\"ok\""));
    for part in [
        "`a.A.good` at `/api/v1/good` and `b.B.same`",
        "`b.B.health` claims `/health`",
        "`b.B.page` claims `/docs/x`",
        "`b.B.broken` claims `/api/v1/{`",
    ] {
        assert_eq!(log::lines_with(part).len(), 1, "{part}");
    }
    assert_eq!(stop(server).await, 0);
}

#[tokio::test]
async fn routes_and_documents_follow_others() {
    let bus = Others::new(&[]);
    let (edge, status) = edge(&bus);
    let follower = tokio::spawn(edge.clone().follow());
    let server = serve(&edge, 1);
    let get = async |path: &str| Ask::new(server.address(), "GET", path).send().await;
    assert_eq!(get("/api/v1/later").await.status, 404);
    let idle = edge.idle_rules();
    assert!(
        idle.len() == 1 && idle[0].to_string().contains("`/api/v1/later`"),
        "{idle:?}"
    );

    bus.claim(&[("late.Late.get", "GET /api/v1/later")]);
    let document = || String::from_utf8(edge.openapi().to_vec()).unwrap();
    until("the route is there", || {
        document().contains("/api/v1/later")
    })
    .await;
    // The rule was there before the route.
    assert_eq!(get("/api/v1/later").await.status, 401);
    assert!(edge.idle_rules().is_empty());

    status.set("broker", vec![Condition::Unready("gone".into())]);
    let ready = get("/ready").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["reasons"][0], "gone");
    assert_eq!(get("/health").await.status, 200);
    status.set("broker", Vec::new());
    assert_eq!(get("/ready").await.status, 200);

    bus.claim(&[]);
    until("it is gone", || !document().contains("/api/v1/later")).await;
    assert_eq!(get("/api/v1/later").await.status, 404);
    follower.abort();
    stop(server).await;
}

#[tokio::test]
async fn each_thread_attends_to_the_bus_until_its_end() {
    let bus = Others::new(&[]);
    let (edge, _) = edge(&bus);
    let board = server::bind("127.0.0.1", 0, "", "").unwrap();
    let board = dashboard::Dashboard::start(board, edge.clone()).unwrap();
    let server = serve(&edge, 3);
    // The dashboard makes no calls.
    let attending = || bus.attending.load(Ordering::SeqCst);
    until("all threads attend", || attending() == 3).await;
    stop(server).await;
    assert_eq!(attending(), 0);
    drop(board);
}
