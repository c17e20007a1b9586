//! A plugin beside a service that was there before, on one surface.
//!
//! `users.py` is a FastAPI application. The built-in plugin `proxy` makes its operations APIs
//! like any other; `greeter` calls one of them.
//!
//! ```text
//! pip install fastapi uvicorn python-multipart
//! uvicorn --app-dir examples/bridge --port 9000 users:app &
//! cargo run --example bridge -- run --config examples/bridge/config.toml
//! curl http://127.0.0.1:8080/users
//! curl "http://127.0.0.1:8080/api/v1/greeting?user_id=1"
//! curl http://127.0.0.1:8080/users/1/story
//! curl -X DELETE -H "Authorization: our-key" http://127.0.0.1:8080/admin/users/1
//! ```
//!
//! <http://127.0.0.1:8080/docs> shows both.

use framex::prelude::*;

/// Greets users of the other service.
#[derive(Default)]
struct Greeter;

/// What is needed of a user there.
#[derive(Deserialize)]
struct User {
    name: String,
}

#[on_register(plugin = "greeter", required_remote_apis = ["proxy.users.read_user"])]
impl Greeter {
    /// Greets a user by name. Whoever is not there is a 404 here too.
    #[on_request(get, "/greeting")]
    async fn greeting(&self, ctx: &Context, user_id: u32) -> Result<String> {
        let user: User = ctx
            .call_plugin_api("proxy.users.read_user", args! { user_id })
            .await?;
        Ok(format!("Hello, {}!", user.name))
    }
}

framex::main!(Greeter);
