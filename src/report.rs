//! What a process says about itself when it has started.

use std::fmt::Write as _;
use std::net::SocketAddr;

use framex_bus::Bus as _;
use framex_core::route::Route;

use crate::app::App;
use crate::cli::escaped;
use crate::start::Role;

/// What was loaded, every route and API of this process, where it listens, and
/// how long the start took.
pub(crate) fn report(app: &App, edge: Option<SocketAddr>, board: Option<SocketAddr>) -> String {
    let serving = app.serving();
    let settings = &app.settings().settings;
    let bus = match serving.transport.nats() {
        Some(_) => format!("NATS at {}", settings.nats.shown()),
        None => "local bus".to_owned(),
    };
    let role = match app.role() {
        Role::Worker => " worker",
        Role::Edge => " edge",
        Role::Whole | Role::Client => "",
    };
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{args}");
    };
    line(format_args!(
        "FrameX {}{role} ({bus})",
        env!("CARGO_PKG_VERSION")
    ));
    let plugins: Vec<String> = serving
        .plugins()
        .map(|p| format!("{} {}", p.metadata().name, p.metadata().version))
        .collect();
    if !plugins.is_empty() {
        line(format_args!("  plugins    {}", plugins.join(", ")));
    } else if app.role() != Role::Edge {
        line(format_args!(
            "  plugins    none (load some with --load-plugins or --load-builtin-plugins)"
        ));
    }
    for reason in serving.status.failures() {
        line(format_args!("  failed     {}", escaped(&reason)));
    }
    let rows = rows(app);
    if !rows.is_empty() {
        line(format_args!("  apis"));
    }
    let width = rows.iter().map(|(route, _)| route.len()).max().unwrap_or(0);
    for (route, id) in rows {
        line(format_args!("    {route:width$}  {id}"));
    }
    if let Some(address) = edge {
        line(format_args!("  edge       http://{address}"));
        line(format_args!(
            "  docs       http://{address}/docs  http://{address}/redoc"
        ));
        line(format_args!(
            "  openapi    http://{address}/api/v1/openapi.json"
        ));
    }
    if let Some(address) = board {
        line(format_args!("  dashboard  http://{address}/catalog"));
    }
    let took = app.begun().elapsed().as_secs_f64() * 1000.0;
    line(format_args!("started in {took:.1} ms, stop with Ctrl+C"));
    text
}

/// Where each API of this process is, and its id.
fn rows(app: &App) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let edge = app.edge();
    for api in app.serving().transport.own().catalog().apis() {
        let id = api.descriptor.id.as_str();
        let stream = if api.descriptor.streams() {
            "  (stream)"
        } else {
            ""
        };
        let id = format!("{id}{stream}");
        // Of a worker, edges elsewhere say what clients get.
        let published = |route: &&Route| {
            app.role() == Role::Worker || edge.publishes(&api.descriptor.id, route)
        };
        let routes = api.descriptor.routes.iter().filter(published);
        let before = rows.len();
        rows.extend(routes.map(|route| (route.to_string(), id.clone())));
        if rows.len() == before {
            rows.push((String::from("bus only"), id));
        }
    }
    rows
}

/// One line, once `/ready` says so.
pub(crate) fn ready(app: &App) -> String {
    let servers = app.settings().settings.nats.shown();
    let plugins: Vec<&str> = app
        .serving()
        .plugins()
        .map(|plugin| plugin.metadata().name.as_str())
        .collect();
    if !plugins.is_empty() {
        return format!("ready: serving {} on {servers}\n", plugins.join(", "));
    }
    let catalog = app.bus().catalog();
    let count = |n: usize, what: &str| match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    let apis = count(catalog.apis().count(), "API");
    let plugins = count(catalog.plugins().len(), "plugin");
    format!("ready: {apis} of {plugins} on {servers}\n")
}
