//! What the benches of whole servers share.
//!
//! - [`child`]: processes of their own, gone with the bench;
//! - [`threads`]: runtimes and listeners of a server, in several shapes;
//! - [`hand`]: pieces of the hand-written baselines;
//! - [`workload`] and [`load`]: requests, and the generator that sends them;
//! - [`process`], [`figures`]: what Linux knows, and what is made of it.

pub(crate) mod child;
pub(crate) mod figures;
pub(crate) mod hand;
pub(crate) mod knob;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod threads;
pub(crate) mod workload;
