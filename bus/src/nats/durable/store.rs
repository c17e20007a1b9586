//! JetStream, as far as it is needed: three questions about one stream, and
//! messages by their subjects.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Message, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::nats::link::Link;
use crate::nats::waiting::Lost;
use crate::nats::{Keeping, Shared, StreamStore};

/// For an answer about the stream; a cluster may have to elect its leader first.
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// For one message; a connection that goes ends the waiting sooner.
const GET_LIMIT: Duration = Duration::from_secs(2);
/// Between two attempts to have the stream; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// JetStream's own codes.
const STREAM_NOT_FOUND: u64 = 10_059;
const NOT_ENABLED: [u64; 2] = [10_039, 10_076];

/// Why there is no store.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    /// The broker has no JetStream.
    NoJetStream,
    /// It may have later.
    NotNow(String),
    /// The user of this process may not ask.
    Denied(String),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    error: Option<ApiError>,
    config: Value,
}

/// An error, as JetStream tells it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ApiError {
    pub(crate) code: u64,
    pub(crate) err_code: u64,
    pub(crate) description: String,
}

/// Makes sure that the store is there whenever the broker is; never ends.
pub(crate) async fn look_after(shared: &Arc<Shared>, link: &Arc<Link>) {
    let Some(options) = &shared.durable.options else {
        return;
    };
    let mut phase = link.phase();
    let mut told: Option<Missing> = None;
    while link.wait_up().await.is_some() {
        phase.borrow_and_update();
        let mut pause = FIRST_PAUSE;
        while link.is_up() {
            let missing = ensure(shared, link, options).await.err();
            let patient = matches!(missing, Some(Missing::NotNow(_))) && pause < ASK_LIMIT;
            match missing {
                None => {
                    settle(shared, true);
                    told = None;
                    break;
                }
                // The brokers may be electing: what was so a moment ago stays so.
                Some(_) if patient || !link.is_up() => {}
                Some(missing) => {
                    settle(shared, false);
                    if told.as_ref() != Some(&missing) {
                        tell(shared, &missing);
                        told = Some(missing);
                    }
                    pause = pause.max(ASK_LIMIT);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = phase.changed() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        if phase.changed().await.is_err() {
            return;
        }
    }
}

fn settle(shared: &Shared, there: bool) {
    if shared.durable.ready.swap(there, Ordering::AcqRel) != there {
        tracing::debug!(there, "where streams are kept has changed");
    }
    let streams = match there {
        true => Keeping::InStore,
        false => Keeping::InProcess,
    };
    shared
        .state
        .send_if_modified(|state| std::mem::replace(&mut state.streams, streams) != streams);
}

fn tell(shared: &Shared, missing: &Missing) {
    let name = &shared.durable.name;
    let meanwhile = "streams are kept by this process alone";
    match missing {
        Missing::NoJetStream => {
            tracing::info!("the broker has no JetStream: {meanwhile}");
        }
        Missing::NotNow(why) => {
            tracing::warn!("the JetStream stream `{name}` cannot be had ({why}): {meanwhile}");
        }
        Missing::Denied(subject) => {
            tracing::warn!("{meanwhile}: its user may not publish to `{subject}`");
        }
    }
}

/// Finds the stream or makes it, and has it as the settings say.
async fn ensure(shared: &Shared, link: &Arc<Link>, options: &StreamStore) -> Result<(), Missing> {
    let wanted = config(shared, options);
    let found = ask(shared, link, "INFO", Value::Null).await?;
    let found = match found.error {
        None => found.config,
        Some(error) if error.err_code == STREAM_NOT_FOUND => {
            return match ask(shared, link, "CREATE", wanted).await?.error {
                None => Ok(()),
                Some(error) => Err(missing(&error)),
            };
        }
        Some(error) => return Err(missing(&error)),
    };
    let differs = |(key, value): (&String, &Value)| found.get(key) != Some(value);
    let differs: Vec<_> = wanted
        .as_object()
        .into_iter()
        .flatten()
        .filter(|field| differs(*field))
        .map(|(key, _)| key.as_str())
        .collect();
    if differs.is_empty() {
        return Ok(());
    }
    // Whatever the settings do not name stays as it is.
    let mut updated = found.clone();
    if let (Some(updated), Some(wanted)) = (updated.as_object_mut(), wanted.as_object()) {
        updated.remove("duplicate_window");
        updated.extend(wanted.clone());
    }
    let refused = match ask(shared, link, "UPDATE", updated).await {
        Ok(Answer { error: None, .. }) => return Ok(()),
        Ok(Answer {
            error: Some(error), ..
        }) => error.description,
        Err(Missing::Denied(subject)) => format!("no permission for `{subject}`"),
        Err(Missing::NoJetStream) => return Err(Missing::NoJetStream),
        Err(Missing::NotNow(why)) => why,
    };
    let name = &shared.durable.name;
    tracing::warn!(
        "the JetStream stream `{name}` is used as it is: it differs from the settings in {}, and cannot be changed ({refused})",
        differs.join(", ")
    );
    Ok(())
}

fn config(shared: &Shared, options: &StreamStore) -> Value {
    let age = u64::try_from(options.max_age.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "name": shared.durable.name,
        "subjects": [shared.names.streams()],
        "storage": if options.in_memory { "memory" } else { "file" },
        "max_age": age,
        "max_bytes": options.max_bytes,
        "num_replicas": options.replicas,
        "discard": "old",
        "max_msgs_per_subject": 1,
        "allow_direct": true,
    })
}

async fn ask(
    shared: &Shared,
    link: &Arc<Link>,
    verb: &str,
    question: Value,
) -> Result<Answer, Missing> {
    let subject = format!("$JS.API.STREAM.{verb}.{}", shared.durable.name);
    let payload = match question {
        Value::Null => String::new(),
        question => question.to_string(),
    };
    let answer = link.request(subject.clone().into(), payload.into(), ASK_LIMIT);
    let not_now = |why: &str| Missing::NotNow(why.to_owned());
    match answer.await {
        Ok(message) => serde_json::from_slice(&message.payload)
            .map_err(|error| Missing::NotNow(format!("its answer cannot be read: {error}"))),
        Err(Lost::NoResponders) => Err(Missing::NoJetStream),
        Err(Lost::Denied) => Err(Missing::Denied(subject)),
        Err(Lost::TimedOut) => Err(not_now("no answer")),
        Err(_) => Err(not_now("the connection to the broker went")),
    }
}

fn missing(error: &ApiError) -> Missing {
    match NOT_ENABLED.contains(&error.err_code) {
        true => Missing::NoJetStream,
        false => Missing::NotNow(error.description.clone()),
    }
}

/// The message of a stream with this subject, if it is there.
pub(super) async fn get(
    shared: &Shared,
    link: &Arc<Link>,
    subject: &str,
) -> Result<Option<Message>, Lost> {
    let question = json!({ "last_by_subj": subject }).to_string();
    let to = format!("$JS.API.DIRECT.GET.{}", shared.durable.name);
    let message = link.request(to.into(), question.into(), GET_LIMIT).await?;
    match message.status {
        Some(StatusCode::NOT_FOUND) => Ok(None),
        // Not now: whoever asks tries again.
        Some(status) if status != StatusCode::OK => Err(Lost::TimedOut),
        _ => Ok(Some(message)),
    }
}
