//! Constructors and hooks.

#![allow(unused_variables)]

use framex::prelude::*;

#[derive(Deserialize)]
struct Config {}

struct NoConstructor;

#[on_register(plugin = "a")]
impl NoConstructor {}

#[derive(Default)]
struct A;

#[on_register(plugin = "b", config = Config)]
impl A {}

struct B;

#[on_register(plugin = "c", config = Config)]
impl B {
    fn new() -> Self {
        Self
    }

    async fn on_start(&self, x: u32) {}

    async fn on_stop(&self, ctx: &Context) {}
}

struct C;

#[on_register(plugin = "d")]
impl C {
    async fn new() -> Self {
        Self
    }

    fn on_start(&self) {}

    async fn on_stop(&mut self) {}
}

struct D;

#[on_register(plugin = "e")]
impl D {
    fn new(a: Config, b: Config) -> Self {
        Self
    }
}

struct E;

#[on_register(plugin = "f")]
impl E {
    fn new(config: &Config) -> Self {
        Self
    }
}

#[derive(Default)]
struct Reserved;

#[on_register(plugin = "g")]
impl Reserved {
    #[on_request(func)]
    async fn new(&self) {}

    #[on_request(func)]
    async fn on_start(&self) {}

    #[on_request(func)]
    async fn on_stop(&self) {}
}

fn main() {}
