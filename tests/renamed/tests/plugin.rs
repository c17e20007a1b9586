//! The plugin with unusual names works like any other.

use framex_test_renamed::{Renamed, double};
use fx::Plugin;

#[test]
fn its_apis_are_there() {
    let paths: Vec<_> = Renamed::apis()
        .iter()
        .map(|api| api.descriptor.routes[0].to_string())
        .collect();
    assert_eq!(
        paths,
        [
            "GET /api/v1/greet/{name}",
            "GET /api/v1/spell",
            "POST /api/v1/keep"
        ]
    );
}

#[tokio::test]
async fn its_functions_are_remote() {
    assert_eq!(double::remote(2).await.unwrap(), 4);
    assert_eq!(Renamed::count_remote("four".into()).await.unwrap(), 4);
}
