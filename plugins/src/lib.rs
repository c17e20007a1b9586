//! The plugins that come with FrameX.

pub mod echo;
pub mod proxy;

/// What `#[on_register]` calls `framex`: this crate is a part of it.
mod framex {
    pub(crate) use framex_core::expand as __private;
}
