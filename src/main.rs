//! The `framex` command: the built-in plugins and nothing of its own.

framex::main!();
