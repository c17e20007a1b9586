//! The documents.
#[path = "../process/mod.rs"]
mod process;
#[test]
fn x() {
    let _ = process::example;
}
