//! The plugins that come with FrameX.

pub mod echo;
