//! The bridge: existing HTTP services on the same surface, and what no plugin answers.
//!
//! | module | its secret |
//! |---|---|
//! | `config` | what `[plugins.proxy]` holds |
//! | `rules` | which paths a rule is about |
//! | `upstream` | a service behind the bridge, as its settings describe it |
//! | `document` | from an OpenAPI document to operations |
//! | `operation` | an operation, as forwarding needs it |
//! | `forward` | from a call to a request, and from its answer to a reply |
//! | `functions` | functions that run on another system |

pub mod config;
mod document;
mod operation;
mod rules;
mod upstream;
