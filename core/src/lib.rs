//! What plugins, the bus and the edge agree on.
//!
//! - names: [`id`], [`route`];
//! - descriptions: [`descriptor`];
//! - a call's way: [`args`] in, [`reply`] or [`event`]s out, [`error`]s, all as a
//!   [`payload`] where it leaves the process;
//! - what is too large for one piece, or may be taken up again: [`body`], [`kept`];
//! - a plugin's view: [`plugin`], [`context`]; what they share: [`process`];
//!   what runs on other systems: [`function`];
//! - [`settings`].
//!
//! # Not here
//!
//! Any network: this crate uses HTTP's and NATS' words, it speaks neither.

pub mod args;
pub mod body;
pub mod context;
pub mod descriptor;
mod download;
pub mod envelope;
pub mod error;
pub mod event;
#[doc(hidden)]
pub mod expand;
pub mod function;
pub mod id;
pub mod kept;
pub mod payload;
pub mod plugin;
pub mod problem;
pub mod process;
pub mod remote;
pub mod reply;
pub mod route;
pub mod settings;
pub mod watch;

/// The code that the macros write names everything through this, in whichever
/// crate `crate = ..` says.
#[doc(hidden)]
pub use expand as __private;
