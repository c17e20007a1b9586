//! Keeps `/ready` and the routes true while the broker and others come and go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use framex_bus::nats::{NatsBus, State};
use framex_bus::{Bus as _, Catalog};
use framex_http_edge::{Condition, Edge, Readiness, Status};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::start::{Dependency, MissingApi, Role, Serving, missing_apis};

/// A broker that is not there at the start may be just about to be: no word before this.
const AT_START: Duration = Duration::from_secs(1);
/// What goes wrong does so in several steps: one word after this.
const SETTLED: Duration = Duration::from_millis(200);
/// Reasons that change while the status stays are logged no more often.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// What follows the bus. Dropping it ends it.
pub(crate) struct Following {
    _tasks: JoinSet<()>,
    ready: watch::Receiver<bool>,
}

impl Following {
    /// Follows the bus of `serving`, if it ever changes. `servers` is where the broker is.
    pub(crate) fn start(serving: &Serving, edge: &Edge, role: Role, servers: String) -> Self {
        let mut tasks = JoinSet::new();
        let (tell, ready) = watch::channel(serving.transport.nats().is_none());
        // Also without a broker: the bridge's routes come and go.
        tasks.spawn(edge.clone().follow());
        if serving.transport.nats().is_none() {
            tell_idle_rules(edge);
        }
        if let Some(nats) = serving.transport.nats() {
            let judge = Judge {
                dependencies: serving.dependencies(),
                offers: serving.plugins().next().is_some(),
                status: Arc::clone(&serving.status),
                edge: edge.clone(),
                role,
                servers,
            };
            tasks.spawn(judge.follow(Arc::clone(nats), tell));
        }
        Self {
            _tasks: tasks,
            ready,
        }
    }

    /// Waits until `/ready` says that this process can do what it is for.
    pub(crate) async fn ready(&self) {
        if self.ready.clone().wait_for(|ready| *ready).await.is_err() {
            // Nobody will say so any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Warns of rules that protect nothing yet.
fn tell_idle_rules(edge: &Edge) {
    let falls_back = edge.bus().fallback().is_some();
    for idle in edge.idle_rules() {
        match falls_back {
            true => tracing::warn!(
                "{idle}; until there is one, it is for what goes to the bridge there"
            ),
            false => tracing::warn!("{idle}; it counts as soon as there is one"),
        }
    }
}

/// Says what the state of the bus means for this process.
struct Judge {
    dependencies: Vec<Dependency>,
    /// Whether it has plugins for others.
    offers: bool,
    status: Arc<Status>,
    edge: Edge,
    role: Role,
    servers: String,
}

impl Judge {
    async fn follow(self, bus: Arc<NatsBus>, tell: watch::Sender<bool>) {
        let mut states = bus.state();
        let mut changes = bus.changes();
        let mut log = Log::default();
        let mut rules_to_check = self.role != Role::Worker;
        let mut unrouted = true;
        loop {
            let state = states.borrow_and_update().clone();
            changes.mark_unchanged();
            if state.discovered && std::mem::take(&mut unrouted) {
                // Nobody is told that this is ready before the routes are there.
                self.edge.update();
            }
            self.judge(&bus.catalog(), &state);
            if state.discovered && std::mem::take(&mut rules_to_check) {
                tell_idle_rules(&self.edge);
            }
            let (code, readiness) = self.status.readiness();
            let later = log.tell(&readiness, Instant::now());
            tell.send_replace(code.is_success());
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return },
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(later.unwrap_or_default()), if later.is_some() => {}
            }
        }
    }

    fn judge(&self, catalog: &Catalog, state: &State) {
        self.status
            .set("broker", self.broker(state).into_iter().collect());
        self.status
            .set("offers", self.offered(state).into_iter().collect());
        let problems = state.problems.iter().cloned().map(Condition::Degraded);
        self.status.set("problems", problems.collect());
        // Before it is known who is there, everything would be missing.
        let missing = match state.discovered {
            true => missing_apis(catalog, &self.dependencies),
            false => Vec::new(),
        };
        self.status.set(
            "dependencies",
            missing.into_iter().map(nobody_serves).collect(),
        );
    }

    fn broker(&self, state: &State) -> Option<Condition> {
        let Self { servers, .. } = self;
        if !state.connected {
            let reason = match &state.trouble {
                Some(trouble) if trouble.contains(servers.as_str()) => {
                    format!("not connected to NATS: {trouble}")
                }
                Some(trouble) => format!("not connected to NATS ({servers}): {trouble}"),
                None => format!("not connected to NATS ({servers}) yet"),
            };
            // Its own routes are as good as ever.
            let own_work = self.role == Role::Whole && self.offers && state.discovered;
            return Some(match own_work {
                true => Condition::Degraded(reason),
                false => Condition::Unready(reason),
            });
        }
        let starting = "starting: what others serve is not known yet";
        (!state.discovered).then(|| Condition::Unready(starting.to_owned()))
    }

    fn offered(&self, state: &State) -> Option<Condition> {
        if !self.offers || state.offered || !state.connected {
            return None;
        }
        let reason = "others cannot call the plugins of this process yet".to_owned();
        Some(match self.role {
            Role::Worker => Condition::Unready(reason),
            _ => Condition::Degraded(reason),
        })
    }
}

fn nobody_serves(missing: MissingApi) -> Condition {
    let MissingApi {
        plugin,
        target,
        nearest,
    } = missing;
    let hint = nearest.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"));
    Condition::Degraded(format!(
        "nobody serves `{target}`, required by plugin `{plugin}`{hint}"
    ))
}

/// Tells the log what changed, once it has settled.
#[derive(Default)]
struct Log {
    told: Option<(Verdict, Instant)>,
    /// What it is now, and since when.
    now: Option<(Verdict, Instant)>,
}

type Verdict = (&'static str, Vec<String>);

impl Log {
    /// Logs `readiness`, or says after how long to ask again.
    fn tell(&mut self, readiness: &Readiness, time: Instant) -> Option<Duration> {
        let verdict = (readiness.status, readiness.reasons.clone());
        let since = match &self.now {
            Some((same, since)) if *same == verdict => *since,
            _ => time,
        };
        self.now = Some((verdict.clone(), since));
        let due = match &self.told {
            Some((told, _)) if *told == verdict => return None,
            _ if readiness.status == "ready" => since,
            None => since + AT_START,
            Some((told, when)) if told.0 == verdict.0 => (since + SETTLED).max(*when + LOG_EVERY),
            Some(_) => since + SETTLED,
        };
        if time < due {
            return Some(due - time);
        }
        match readiness.status {
            "ready" => tracing::info!("ready"),
            // Whoever stops it says so.
            "stopping" => {}
            status => tracing::warn!("{status}: {}", readiness.reasons.join("; ")),
        }
        self.told = Some((verdict, time));
        None
    }
}

#[cfg(test)]
mod tests {
    use framex_bus::LocalBus;
    use framex_core::descriptor::{ApiDescriptor, ApiKind, PluginMetadata};
    use framex_core::id::ApiId;
    use framex_http_edge::Options;

    use super::*;

    const UP: State = State {
        connected: true,
        trouble: None,
        broker: None,
        discovered: true,
        offered: true,
        problems: Vec::new(),
        streams: framex_bus::nats::Keeping::InProcess,
    };

    fn judge(role: Role, offers: bool) -> Judge {
        let status = Arc::new(Status::new("1.0.0"));
        status.ready();
        let bus = LocalBus::new(Duration::from_secs(1));
        let edge = Edge::new(bus, Arc::clone(&status), Options::default()).unwrap();
        Judge {
            dependencies: Vec::new(),
            offers,
            status,
            edge,
            role,
            servers: "nats://h".into(),
        }
    }

    fn verdict(judge: &Judge, state: &State) -> (&'static str, String) {
        judge.judge(&Catalog::default(), state);
        let (code, readiness) = judge.status.readiness();
        assert_eq!(code.is_success(), readiness.status != "unready");
        (readiness.status, readiness.reasons.join("; "))
    }

    #[test]
    fn a_broker_that_is_gone_matters_as_much_as_the_work_needs_it() {
        let gone = State {
            connected: false,
            trouble: Some("refused".into()),
            ..UP
        };
        let never_there = State {
            discovered: false,
            ..gone.clone()
        };
        for (role, offers, when_gone) in [
            (Role::Edge, false, "unready"),
            (Role::Worker, true, "unready"),
            (Role::Whole, true, "degraded"),
            (Role::Whole, false, "unready"),
        ] {
            let judge = judge(role, offers);
            let why = "not connected to NATS (nats://h): refused".to_owned();
            assert_eq!(verdict(&judge, &gone), (when_gone, why.clone()), "{role:?}");
            assert_eq!(verdict(&judge, &never_there), ("unready", why), "{role:?}");
            assert_eq!(verdict(&judge, &UP), ("ready", String::new()), "{role:?}");
        }
    }

    #[test]
    fn offers_count_where_there_are_some() {
        let state = State {
            offered: false,
            ..UP
        };
        for (role, offers, status) in [
            (Role::Worker, true, "unready"),
            (Role::Whole, true, "degraded"),
            (Role::Edge, false, "ready"),
        ] {
            assert_eq!(verdict(&judge(role, offers), &state).0, status, "{role:?}");
        }
    }

    #[test]
    fn the_log_waits_until_it_knows() {
        let verdict = |status, reasons: &[&str]| Readiness {
            status,
            reasons: reasons.iter().map(|r| (*r).to_owned()).collect(),
            uptime_seconds: 0,
        };
        let mut log = Log::default();
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let wait = |ms| Some(Duration::from_millis(ms));
        assert_eq!(log.tell(&verdict("unready", &["a"]), at(0)), wait(1000));
        assert_eq!(log.tell(&verdict("unready", &["a"]), at(1000)), None);
        assert_eq!(log.tell(&verdict("ready", &[]), at(1500)), None);
        // Gone before anybody had to know.
        assert_eq!(log.tell(&verdict("unready", &["b"]), at(2000)), wait(200));
        assert_eq!(log.tell(&verdict("ready", &[]), at(2100)), None);
        assert_eq!(log.tell(&verdict("unready", &["b"]), at(3000)), wait(200));
        assert_eq!(log.tell(&verdict("unready", &["c"]), at(3100)), wait(200));
        assert_eq!(log.tell(&verdict("unready", &["c"]), at(3300)), None);
        assert_eq!(log.told.as_ref().unwrap().0.1, ["c"]);
        // The same with another reason: not at once.
        assert_eq!(log.tell(&verdict("unready", &["d"]), at(3400)), wait(4900));
        assert_eq!(log.tell(&verdict("unready", &["d"]), at(8300)), None);
        assert_eq!(log.told.unwrap().0.1, ["d"]);
    }

    #[test]
    fn who_is_missing_is_known_after_discovery() {
        let mut judge = judge(Role::Worker, true);
        judge.dependencies = vec![Dependency {
            plugin: "a".into(),
            target: "b.B.c".into(),
        }];
        let early = State {
            discovered: false,
            ..UP
        };
        assert!(!verdict(&judge, &early).1.contains("b.B.c"));
        let reason = "nobody serves `b.B.c`, required by plugin `a`".to_owned();
        assert_eq!(verdict(&judge, &UP), ("degraded", reason));
        let descriptor = ApiDescriptor::new(ApiId::parse("b.B.c").unwrap(), ApiKind::Func);
        let catalog = Catalog::from_descriptors([(PluginMetadata::default(), descriptor)]);
        judge.judge(&catalog, &UP);
        assert_eq!(judge.status.readiness().1.status, "ready");
    }
}
