//! What the workers of these tests serve.

#![allow(clippy::unwrap_used, reason = "a part of tests")]

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use framex::prelude::*;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkConfig {
    /// Who answers.
    #[serde(default)]
    name: String,
    /// How long even quick work takes.
    #[serde(default)]
    slowness_ms: u64,
}

/// Work of every kind. The answers say who did it.
struct Work {
    config: WorkConfig,
}

#[on_register(plugin = "work", version = "1.0.0", config = WorkConfig)]
impl Work {
    fn new(config: WorkConfig) -> Result<Self> {
        Ok(Self { config })
    }

    /// May be done again.
    #[on_request(all, get, "/quick", idempotent, timeout = "10m")]
    async fn quick(&self) -> String {
        self.sleep(self.config.slowness_ms).await
    }

    /// Must not be done twice.
    #[on_request(all, post, "/once", timeout = "10m")]
    async fn once(&self) -> String {
        self.sleep(self.config.slowness_ms).await
    }

    #[on_request(get, "/slow", idempotent, timeout = "10m")]
    async fn slow(&self, ms: u64) -> String {
        self.sleep(ms).await
    }

    #[on_request(post, "/slow", timeout = "10m")]
    async fn slow_once(&self, ms: u64) -> String {
        self.sleep(ms).await
    }

    /// Holds its thread.
    #[on_request(get, "/block", timeout = "10m")]
    async fn block(&self, ms: u64) -> String {
        std::thread::sleep(Duration::from_millis(ms));
        self.config.name.clone()
    }

    /// One at a time.
    #[on_request(get, "/single", max_ongoing_requests = 1)]
    async fn single(&self, ms: u64) -> String {
        self.sleep(ms).await
    }

    /// An event every `ms`.
    #[on_request(get, "/ticks", stream)]
    fn ticks(&self, count: u64, ms: u64) -> impl Stream<Item = Event> {
        async_stream::stream! {
            for n in 0..count {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                yield Event::text(n.to_string());
            }
        }
    }

    /// A story of `count` events that can be told apart, one every `ms`.
    #[on_request(get, "/tale", stream)]
    fn tale(&self, key: String, count: usize, ms: u64) -> impl Stream<Item = Event> {
        let noted = Noted::new("tale", &key);
        async_stream::stream! {
            let _noted = noted;
            for n in 0..count {
                if ms > 0 {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
                yield Event::text(format!("{key} {n} {}", "x".repeat(n * 7919 % 97)));
            }
        }
    }

    async fn sleep(&self, ms: u64) -> String {
        if ms > 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        self.config.name.clone()
    }
}

/// Has others do the work.
#[derive(Default)]
struct Relay;

#[on_register(plugin = "relay", required_remote_apis = ["work.Work.slow_once"])]
impl Relay {
    #[on_request(post, "/relay", timeout = "10m")]
    async fn relay(&self, ctx: &Context, ms: u64) -> Result<String> {
        ctx.call_plugin_api("work.Work.slow_once", args! { ms })
            .await
    }
}

/// Writes down when it begins and when it is dropped, in the file `$NOTES`.
struct Noted(String);

impl Noted {
    fn new(who: &str, key: &str) -> Self {
        let what = format!("{who} {key}");
        write_down(&format!("begun {what}"));
        Self(what)
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        write_down(&format!("gone {}", self.0));
    }
}

fn write_down(line: &str) {
    let path = PathBuf::from(std::env::var_os("NOTES").unwrap());
    let mut file = std::fs::File::options();
    let mut file = file.create(true).append(true).open(path).unwrap();
    // At once, for other processes write there too.
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// The first of three: each calls the next, and the last never ends.
#[derive(Default)]
struct First;

#[on_register(plugin = "first", required_remote_apis = ["second.Second.go"])]
impl First {
    #[on_request(get, "/chain", timeout = "10m")]
    async fn go(&self, ctx: &Context, key: String) -> Result<String> {
        let _noted = Noted::new("first", &key);
        ctx.call_plugin_api("second.Second.go", args! { key }).await
    }

    #[on_request(get, "/short_chain", timeout = "700ms")]
    async fn briefly(&self, ctx: &Context, key: String) -> Result<String> {
        let _noted = Noted::new("first", &key);
        ctx.call_plugin_api("second.Second.go", args! { key }).await
    }
}

#[derive(Default)]
struct Second;

#[on_register(plugin = "second", required_remote_apis = ["third.Third.go"])]
impl Second {
    #[on_request(func, timeout = "10m")]
    async fn go(&self, ctx: &Context, key: String) -> Result<String> {
        let _noted = Noted::new("second", &key);
        ctx.call_plugin_api("third.Third.go", args! { key }).await
    }
}

#[derive(Default)]
struct Third;

#[on_register(plugin = "third")]
impl Third {
    #[on_request(func, timeout = "10m")]
    async fn go(&self, key: String) -> String {
        let _noted = Noted::new("third", &key);
        std::future::pending().await
    }
}

framex::main!(Work, Relay, First, Second, Third);
