//! `call`: one API, from a shell.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use framex_bus::{Api, Catalog};
use framex_core::args::{Args, Upload};
use framex_core::body::ByteStream;
use framex_core::context::{CallMeta, Request};
use framex_core::descriptor::{ApiDescriptor, ApiKind, Location, Parameter};
use framex_core::error::{CallError, Error};
use framex_core::event::{Data, Event, EventStream};
use framex_core::id::ApiId;
use framex_core::problem::{Loc, Problem};
use framex_core::reply::{Download, Reply, Response};
use framex_core::settings::nearest;
use futures_core::Stream;
use http::StatusCode;
use serde_json::{Map, Value};

use super::broker::{self, Choice};
use super::failure::{Failure, say};
use super::options::{Common, pair};
use super::pretty::{one_line, pretty};
use super::{nothing_loaded, output, runtime, signals};
use crate::start::{Definitions, Role, Serving};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  framex call echo.EchoPlugin.echo message=hello --load-builtin-plugins echo
  framex call GET /api/v1/echo message=hello --load-builtin-plugins echo
  framex call /api/v1/echo_model message=hi 'model={\"id\": 1}' --load-builtin-plugins echo
  framex call /api/v1/echo_model --json '{\"message\": \"hi\", \"model\": {\"id\": 1}}'
  framex call /api/v1/echo_model --json @arguments.json
  framex call echo.EchoPlugin.echo message=hello --nats-url nats://127.0.0.1:4222
  framex call PUT /api/v1/files/a.iso name=a.iso file=@a.iso --nats-url nats://127.0.0.1:4222

The API's own schema says how a value is read: `limit=3` is a number where a number is wanted. A
repeated key makes a list. A file is `file=@path`, read as it is sent. The plugins are started for the call and stopped after it, no port is
opened. On NATS no plugin is loaded: those that run there are called.

The result is printed as JSON; the events of a stream as lines of JSON, as they come; the bytes of a
download as they are. A failed call is told on standard error, with exit code 1.")]
pub(crate) struct Call {
    /// An API id, a path, or a method and a path
    target: String,
    /// The arguments
    #[arg(value_name = "KEY=VALUE", value_parser = word)]
    arguments: Vec<Word>,
    /// All arguments as a JSON object; @FILE reads a file, - standard input
    #[arg(long, value_name = "OBJECT", allow_hyphen_values = true)]
    json: Option<String>,
    /// Give up after this time, e.g. 500ms or 30s [default: the API's own]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    broker: Choice,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Debug)]
enum Word {
    /// After a method.
    Path(String),
    Pair(String, String),
}

fn word(text: &str) -> Result<Word, String> {
    match text.starts_with('/') {
        true => Ok(Word::Path(text.to_owned())),
        false => pair(text).map(|(key, value)| Word::Pair(key, value)),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let read = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    read.filter(|time| !time.is_zero())
        .ok_or_else(|| "expected a time, e.g. 500ms or 30s".to_owned())
}

pub(crate) fn run(options: Call, definitions: &Definitions) -> Result<(), Failure> {
    let (target, pairs) = target_and_pairs(options.target, options.arguments)?;
    let given = options.json.as_deref().map_or(Ok(Map::new()), object)?;
    let settings = options
        .common
        .load(|overrides| options.broker.overrides(overrides))?;
    let role = broker::role(&settings, &options.common)?;
    let runtime = runtime(1)?;
    let done = runtime.block_on(async {
        let mut serving = Serving::load(definitions, &settings, role)?;
        broker::reach(&serving).await?;
        let there = |catalog: &Catalog| catalog.resolve(&target).is_ok();
        let catalog = broker::catalog(&serving, there).await;
        let signal = signals::watch()?;
        let allow_failed = settings.settings.allow_failed_plugins;
        // What the bridge has is there once it has started; else mistakes are told before.
        let early = serving.bridges() && !there(&catalog);
        if early {
            serving.start(allow_failed).await?;
        }
        let empty = || match role {
            Role::Client => broker::nobody_there(&settings),
            _ => nothing_loaded(definitions),
        };
        let bus = serving.bus();
        let found = find(&bus.catalog(), &target, bus.fallback().is_some(), empty);
        let prepared = found.and_then(|found| prepare(found, given, pairs));
        let outcome = match prepared {
            Err(failure) if !early => return Err(failure),
            Err(failure) => Err(failure),
            Ok(prepared) => {
                if !early {
                    serving.start(allow_failed).await?;
                }
                tokio::select! {
                    outcome = call(&serving, &target, prepared, options.timeout) => outcome,
                    Ok(signal) = signal => Err(Failure::Signal(signal.exit_code())),
                }
            }
        };
        serving.stop(settings.settings.server.shutdown_grace).await;
        outcome
    });
    runtime.shutdown_background();
    done
}

/// What is called.
enum Called {
    Api(Arc<Api>),
    /// What nobody on the bus has, and how it looks; the bridge may know it. What else may have
    /// been meant.
    Elsewhere(Box<ApiDescriptor>, String),
}

impl Called {
    fn descriptor(&self) -> &ApiDescriptor {
        match self {
            Self::Api(api) => &api.descriptor,
            Self::Elsewhere(descriptor, _) => descriptor,
        }
    }
}

/// What is called, with its arguments.
fn prepare(
    called: Called,
    given: Map<String, Value>,
    pairs: Pairs,
) -> Result<(Called, Args), Failure> {
    let descriptor = called.descriptor();
    let (pairs, files) = files(descriptor, pairs)?;
    let mut args =
        Args::from_texts(descriptor, given, &pairs).map_err(|error| failed(&error, descriptor))?;
    for (name, file) in files {
        args = args.with_file(name, file);
    }
    Ok((called, args))
}

/// Arguments as they were given: names and texts.
type Pairs = Vec<(String, String)>;

/// Joins `GET /path`, which a shell takes apart.
fn target_and_pairs(
    mut target: String,
    words: Vec<Word>,
) -> Result<(String, Vec<(String, String)>), Failure> {
    let mut pairs = Vec::new();
    for (index, word) in words.into_iter().enumerate() {
        match word {
            Word::Pair(key, value) => pairs.push((key, value)),
            Word::Path(path) if index == 0 && target.bytes().all(|b| b.is_ascii_alphabetic()) => {
                target = format!("{} {path}", target.to_ascii_uppercase());
            }
            Word::Path(path) => {
                return Err(Failure::Wrong(format!(
                    "`{path}` is no argument: expected `key=value`"
                )));
            }
        }
    }
    Ok((target, pairs))
}

/// The object of `--json`.
fn object(text: &str) -> Result<Map<String, Value>, Failure> {
    let unreadable = |file: &str, error: std::io::Error| {
        Failure::Told(format!("--json: {file} cannot be read: {error}"))
    };
    let text = match text.strip_prefix('@') {
        _ if text == "-" => {
            let mut all = String::new();
            let read = std::io::stdin().read_to_string(&mut all);
            read.map_err(|error| unreadable("standard input", error))?;
            all
        }
        Some(file) => std::fs::read_to_string(file).map_err(|error| unreadable(file, error))?,
        None => text.to_owned(),
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Failure::Wrong(
            "--json is no object: write the arguments as '{\"key\": \"value\"}'".into(),
        )),
        Err(error) => Err(Failure::Wrong(format!("--json is no JSON: {error}"))),
    }
}

/// Opens what is given as `name=@path` for an argument that is a file. For another service it
/// may be a text as well.
fn files(api: &ApiDescriptor, pairs: Pairs) -> Result<(Pairs, Vec<(String, Upload)>), Failure> {
    let is_file = |(name, value): &(String, String)| {
        let location = api
            .parameters
            .iter()
            .find(|p| p.name == *name)
            .map(|p| p.location);
        matches!(location, Some(Location::File | Location::Upload))
            && (!api.bridged || value.starts_with('@'))
    };
    let (given, others): (Pairs, Pairs) = pairs.into_iter().partition(is_file);
    let open = |(name, value): (String, String)| {
        let Some(path) = value.strip_prefix('@') else {
            let text = format!("`{name}` is a file: write `{name}=@path`");
            return Err(Failure::Wrong(text));
        };
        let bytes = File::open(path)
            .and_then(ByteStream::file)
            .map_err(|error| Failure::Told(format!("`{name}`: {path} cannot be read: {error}")))?;
        let filename = Path::new(path).file_name().unwrap_or_default();
        Ok((name, Upload::new(bytes).named(filename.to_string_lossy())))
    };
    let files = given.into_iter().map(open).collect::<Result<_, _>>()?;
    Ok((others, files))
}

/// What `target` means; `bridged`: somebody takes what nobody on the bus has.
fn find(
    catalog: &Catalog,
    target: &str,
    bridged: bool,
    empty: impl FnOnce() -> String,
) -> Result<Called, Failure> {
    if catalog.apis().next().is_none() {
        return Err(Failure::Told(empty()));
    }
    let error = match catalog.resolve(target) {
        Ok(api) => return Ok(Called::Api(api)),
        Err(error) => error,
    };
    if !matches!(error, CallError::Unknown { .. }) {
        return Err(Failure::Told(error.to_string()));
    }
    let names: Vec<String> = catalog
        .apis()
        .flat_map(|api| {
            let routes = &api.descriptor.routes;
            let id = api.descriptor.id.to_string();
            let paths = routes.iter().map(|route| route.path.clone());
            paths
                .chain(routes.iter().map(ToString::to_string))
                .chain([id])
        })
        .collect();
    let hint = match nearest(target, names.iter().map(String::as_str)) {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => "; the command `apis` lists all there are".to_owned(),
    };
    match ApiId::parse("bridge.Bridge.any") {
        Ok(id) if bridged => {
            let mut descriptor = ApiDescriptor::new(id, ApiKind::Func);
            descriptor.bridged = true;
            Ok(Called::Elsewhere(Box::new(descriptor), hint))
        }
        _ => Err(Failure::Told(format!("{error}{hint}"))),
    }
}

async fn call(
    serving: &Serving,
    target: &str,
    (called, args): (Called, Args),
    timeout: Option<Duration>,
) -> Result<(), Failure> {
    let meta = CallMeta {
        deadline: timeout.map(|timeout| Instant::now() + timeout),
        ..CallMeta::default()
    };
    let request = Request { args, meta };
    let bus = serving.bus();
    let reply = match &called {
        Called::Api(api) => bus.call(api, request).await,
        Called::Elsewhere(..) => bus.call_target(target, request).await,
    };
    let descriptor = called.descriptor();
    let reply = reply.map_err(|error| match (error.into_error(), &called) {
        (error, Called::Elsewhere(_, hint)) if error.code() == "unknown_api" => {
            Failure::Told(format!("{}{hint}", error.message()))
        }
        (error, _) => failed(&error, descriptor),
    });
    match reply? {
        Reply::Value(json) => output::print_line(json_text(&json)?),
        Reply::Response(response) => print_response(&response),
        Reply::Download(download) => print_download(download, descriptor).await,
        Reply::Stream(events) => print_events(events, descriptor).await,
    }
}

fn json_text(json: &[u8]) -> Result<String, Failure> {
    pretty(json).map_err(|error| Failure::Told(format!("the result is no JSON: {error}")))
}

/// What the handler made itself: JSON indented, anything else as it is.
fn print_response(response: &Response) -> Result<(), Failure> {
    let failing = tell_status(response.status, response.body.is_empty());
    let kind = response.headers.get(http::header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.contains("json").then(|| pretty(&response.body)) {
        Some(Ok(text)) => output::print_line(text)?,
        _ => output::print(&response.body)?,
    }
    failing
}

/// The bytes as they come, whatever they are.
async fn print_download(mut download: Download, api: &ApiDescriptor) -> Result<(), Failure> {
    let failing = tell_status(download.status, false);
    while let Some(piece) = download.body.next().await {
        output::print(&piece.map_err(|error| failed(&error, api))?)?;
    }
    failing
}

/// Says what is not an ordinary success; a failure is one of the command too.
fn tell_status(status: StatusCode, empty: bool) -> Result<(), Failure> {
    if status.is_client_error() || status.is_server_error() {
        say("error", &format!("the API answered {status}"));
        return Err(Failure::AlreadyTold);
    }
    if !status.is_success() || empty {
        say("note", &format!("the API answered {status}"));
    }
    Ok(())
}

/// One line per event, as `application/x-ndjson` on the edge.
async fn print_events(mut events: EventStream, api: &ApiDescriptor) -> Result<(), Failure> {
    let mut next = async || std::future::poll_fn(|cx| Pin::new(&mut events).poll_next(cx)).await;
    while let Some(event) = next().await {
        let event = event.map_err(|error| failed(&error, api))?;
        output::print_line(line(&event)?)?;
    }
    Ok(())
}

fn line(event: &Event) -> Result<String, Failure> {
    let data = match event.data() {
        Data::Text(text) => serde_json::json!({ "content": **text }).to_string(),
        Data::Json(json) => one_line(json)
            .map_err(|error| Failure::Told(format!("an event is no JSON: {error}")))?,
    };
    let name = Value::from(event.name());
    Ok(format!("{{\"event\":{name},\"data\":{data}}}"))
}

/// Status, code, message, and whatever else the error has to say.
fn failed(error: &Error, api: &ApiDescriptor) -> Failure {
    let status = error.status().as_u16();
    let mut text = format!("{status} {}: {}", error.code(), error.message());
    let problems = error
        .detail()
        .and_then(|detail| serde_json::from_value::<Vec<Problem>>(detail.clone()).ok());
    // Writing to a String cannot fail.
    match (problems, error.detail()) {
        (Some(problems), _) => {
            for problem in problems {
                let _ = write!(text, "\n  {}: {}", place(&problem.loc), problem.msg);
            }
            if !api.bridged || !api.parameters.is_empty() {
                let _ = write!(text, "\n{}", usage(api));
            }
        }
        (None, Some(detail)) => {
            let _ = write!(text, "\n  {detail}");
        }
        (None, None) => {}
    }
    let mut source: Option<&dyn std::error::Error> = error.source().map(|source| &**source as _);
    while let Some(cause) = source {
        let _ = write!(text, "\n  because: {cause}");
        source = cause.source();
    }
    Failure::Told(text)
}

/// `model.id`, `tags[2]`: without the part of an HTTP request, for there is none.
fn place(loc: &[Loc]) -> String {
    let steps = match loc {
        [_, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    let mut text = String::new();
    for step in steps {
        // Writing to a String cannot fail.
        let _ = match step {
            Loc::Index(index) => write!(text, "[{index}]"),
            Loc::Name(name) if text.is_empty() => write!(text, "{name}"),
            Loc::Name(name) => write!(text, ".{name}"),
        };
    }
    text
}

/// The arguments an API takes, as one would write them.
fn usage(api: &ApiDescriptor) -> String {
    if api.parameters.is_empty() {
        return format!("`{}` takes no arguments", api.id);
    }
    let mut text = format!("`{}` takes", api.id);
    for parameter in &api.parameters {
        let name = &parameter.name;
        let kind = kind(parameter);
        // Writing to a String cannot fail.
        let _ = match parameter.required {
            true => write!(text, " {name}=<{kind}>"),
            false => write!(text, " [{name}=<{kind}>]"),
        };
    }
    text
}

/// A word for what a parameter's schema asks for.
fn kind(parameter: &Parameter) -> &str {
    let schema = &parameter.schema;
    schema["$ref"]
        .as_str()
        .and_then(|name| name.rsplit('/').next())
        .or_else(|| schema["format"].as_str())
        .or_else(|| schema["type"].as_str())
        .or_else(|| {
            let types = schema["type"].as_array()?;
            types
                .iter()
                .filter_map(Value::as_str)
                .find(|name| *name != "null")
        })
        .unwrap_or("value")
}
