//! A handler that cannot move between threads.

#![allow(unused_variables)]

use std::rc::Rc;

use framex::prelude::*;

#[derive(Default)]
struct P;

#[on_register(plugin = "p")]
impl P {
    #[on_request(func)]
    async fn stuck(&self) -> usize {
        let local = Rc::new(1);
        std::future::ready(()).await;
        *local
    }
}

fn main() {}
