//! Functions that run elsewhere.

use std::sync::{Arc, Barrier};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use framex::prelude::*;
use serde_json::json;

use crate::support::value;

/// Twice `x`.
#[remote]
fn double(x: u64) -> u64 {
    x * 2
}

#[remote]
fn where_am_i() -> ThreadId {
    thread::current().id()
}

#[remote]
fn sleep(millis: u64) {
    thread::sleep(Duration::from_millis(millis));
}

#[remote]
fn meet(barrier: Arc<Barrier>) -> bool {
    barrier.wait().is_leader()
}

#[derive(Debug, thiserror::Error)]
#[error("odd")]
struct Odd;

/// Not visible outside of this module.
#[derive(Debug, PartialEq)]
struct Private(u64);

#[remote]
fn half(of: Private) -> Result<Private, Odd> {
    halve(of.0)
}

#[remote]
async fn later(mut x: u64) -> std::result::Result<u64, Odd> {
    x += 1;
    tokio::task::yield_now().await;
    if x.is_multiple_of(2) { Ok(x) } else { Err(Odd) }
}

#[remote]
fn written(text: String) -> std::fmt::Result {
    if text.is_empty() {
        Err(std::fmt::Error)
    } else {
        Ok(())
    }
}

fn halve(x: u64) -> Result<Private, Odd> {
    if x.is_multiple_of(2) {
        Ok(Private(x / 2))
    } else {
        Err(Odd)
    }
}

#[derive(Clone)]
struct Adder {
    by: u64,
}

impl Adder {
    #[remote]
    fn add(&self, x: u64) -> u64 {
        self.by + x
    }

    #[remote]
    async fn add_later(&self, x: u64) -> Result<u64, Odd> {
        Ok(self.by + x)
    }

    #[remote]
    fn consume(self) -> u64 {
        self.by
    }

    #[remote]
    fn shared(self: Arc<Self>, x: u64) -> u64 {
        self.by * x
    }

    #[remote]
    fn made(by: u64) -> Self {
        Self { by }
    }

    #[remote(associated)]
    fn plus(a: u64, b: u64) -> u64 {
        a + b
    }
}

#[derive(Clone, Default)]
struct Worker;

#[on_register(plugin = "worker")]
impl Worker {
    #[on_request(func)]
    async fn run(&self, x: u64) -> Result<u64> {
        Ok(self.heavy_remote(x).await? + Worker::light_remote(1).await?)
    }

    #[remote]
    fn heavy(&self, x: u64) -> u64 {
        x * 3
    }

    #[remote]
    fn light(x: u64) -> u64 {
        x
    }
}

#[tokio::test]
async fn a_function_has_both_forms() {
    #[remote]
    fn local(x: u64) -> u64 {
        x + 1
    }

    assert_eq!(double(21), 42);
    assert_eq!(double::remote(21).await.unwrap(), 42);
    assert_eq!(local::remote(1).await.unwrap(), 2);
    assert_eq!(half::remote(Private(8)).await.unwrap(), Private(4));
    assert_eq!(later::remote(1).await.unwrap(), 2);
    let error = half::remote(Private(7)).await.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "odd");
    assert!(later::remote(2).await.is_err());
    written::remote("x".into()).await.unwrap();
    assert!(written::remote(String::new()).await.is_err());
}

#[tokio::test]
async fn methods_and_associated_functions_have_siblings() {
    let adder = Adder { by: 1 };
    assert_eq!(adder.add_remote(2).await.unwrap(), 3);
    assert_eq!(adder.add_later_remote(2).await.unwrap(), 3);
    assert_eq!(Adder::made_remote(5).await.unwrap().add(1), 6);
    assert_eq!(Adder::plus_remote(1, 2).await.unwrap(), 3);
    assert_eq!(Arc::new(adder.clone()).shared_remote(4).await.unwrap(), 4);
    assert_eq!(adder.consume_remote().await.unwrap(), 1);
    let worker = Arc::new(Worker);
    let result = value(&worker, "run", json!({ "x": 2 })).await;
    assert_eq!(result.unwrap(), 7);
}

#[tokio::test]
async fn a_blocking_function_leaves_the_runtime_alone() {
    assert_ne!(where_am_i::remote().await.unwrap(), thread::current().id());
    let started = Instant::now();
    let sleeping = tokio::spawn(sleep::remote(300));
    tokio::task::yield_now().await;
    assert!(started.elapsed() < Duration::from_millis(200));
    sleeping.await.unwrap().unwrap();
}

#[tokio::test]
async fn blocking_functions_run_in_parallel() {
    // They wait for each other: one after the other they would never return.
    let barrier = Arc::new(Barrier::new(4));
    let calls = (0..4).map(|_| meet::remote(Arc::clone(&barrier)));
    let leaders = futures_util::future::join_all(calls).await;
    assert_eq!(
        leaders.into_iter().filter(|l| *l.as_ref().unwrap()).count(),
        1
    );
}
