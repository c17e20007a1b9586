//! Calls from one plugin to another, each in a process of its own.
//!
//! The caller serves `caller.Caller.drive`, which calls the worker's echo one after the other until
//! its time is over and answers with how often. So many of those run at once as the scenario says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::ConnectOptions;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::baseline::{self, DRIVE};
use crate::common::load::Sample;
use crate::common::process;
use crate::framex;
use crate::spec::{Kind, Spec};
use crate::system::{Serving, runtime, says_ready};

/// What is sent to and fro.
pub(crate) const MESSAGE: &str = "hello framex";

/// Between the request and the first call that counts.
const WARM_UP: Duration = Duration::from_millis(300);

/// When calls count, in milliseconds since 1970.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(crate) struct Window {
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

impl Window {
    /// Whether a call that begins now counts: 1 or 0; `None` when there should be no more.
    pub(crate) fn counts(&self) -> Option<u64> {
        let now = now();
        (now < self.end).then_some(u64::from(now >= self.begin))
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).expect("within centuries")
    })
}

/// One turn with `concurrency` calls at once.
///
/// # Errors
///
/// What the process said that did not start, or what the caller answered instead of a number.
pub(crate) fn measure(spec: &Spec, concurrency: usize, length: Duration) -> Result<Sample, String> {
    let serving = Serving::start(spec, false)?;
    let url = serving.broker.url();
    let caller = says_ready(match spec.kind {
        Kind::Baseline => baseline::command(spec, "caller", &url),
        Kind::Framex => framex::worker(spec, "caller", &url),
    })?;
    let pids = serving.pids(caller.pid());

    runtime().block_on(async {
        let options = ConnectOptions::new().request_timeout(Some(length + WARM_UP * 20));
        let client = options.connect(&url).await.map_err(|e| e.to_string())?;
        let millis = |time: Duration| u64::try_from(time.as_millis()).expect("seconds");
        let begin = now() + millis(WARM_UP);
        let end = begin + millis(length);
        let window = serde_json::to_vec(&Window { begin, end }).expect("numbers are JSON");

        let drive = async || -> Result<u64, String> {
            let reply = client.request(DRIVE, window.clone().into()).await;
            let reply = reply.map_err(|error| format!("{DRIVE}: {error}"))?.payload;
            let text = String::from_utf8_lossy(&reply);
            text.parse().map_err(|_| format!("{DRIVE}: {text}"))
        };
        let cpu = async {
            let used = || pids.map(process::cpu_time);
            tokio::time::sleep(WARM_UP).await;
            let before = used();
            tokio::time::sleep(length).await;
            let after = used();
            std::array::from_fn::<_, 3, _>(|i| after[i].saturating_sub(before[i]))
        };
        let (counts, cpu) = tokio::join!(join_all((0..concurrency).map(|_| drive())), cpu);
        let calls = counts.into_iter().sum::<Result<u64, String>>()? as f64;
        Ok(Sample {
            rate: calls / length.as_secs_f64(),
            cpus: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / calls).to_vec(),
            // So many are always under way.
            p50: concurrency as f64 * length.as_secs_f64() * 1e6 / calls,
            p99: f64::NAN,
            rss: process::resident_mb(pids[0]),
            load: 0.0,
        })
    })
}
