//! What many instances serve becomes one catalog.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use framex_core::descriptor::{ApiDescriptor, Parameter, ReplyShape};
use framex_core::id::ApiId;

use super::check::Described;
use super::learn::{Served, Service};
use crate::Catalog;
use crate::nats::directory::RemoteApi;
use crate::nats::peers::{Endpoint, Instance};
use crate::nats::wire::Names;

/// One instance and what it serves.
pub(super) struct Part<'a> {
    pub(super) instance: &'a Arc<Instance>,
    pub(super) service: &'a Service,
    /// It takes calls. Of one that takes none, it is remembered what it served.
    pub(super) live: bool,
    /// It says nothing any more, and may be there all the same.
    pub(super) quiet: bool,
}

/// An API of an instance.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    instance: &'a Arc<Instance>,
    service: &'a Service,
    served: &'a Served,
    live: bool,
    quiet: bool,
}

/// The instances that describe an API in one way.
struct Group<'a> {
    api: &'a Rc<Described>,
    /// With the highest version of the plugin.
    service: &'a Service,
    members: Vec<Candidate<'a>>,
}

/// Every API that `parts` serve, and what does not fit together.
pub(super) fn merge<'a>(
    parts: impl Iterator<Item = Part<'a>>,
    local: &Catalog,
    names: &Names,
) -> (Vec<RemoteApi>, Vec<String>) {
    let mut by_api: BTreeMap<&ApiId, Vec<Candidate<'a>>> = BTreeMap::new();
    for part in parts {
        for served in &part.service.apis {
            let candidates = by_api.entry(&served.api.descriptor.id).or_default();
            candidates.push(Candidate {
                instance: part.instance,
                service: part.service,
                served,
                live: part.live,
                quiet: part.quiet,
            });
        }
    }
    let mut apis = Vec::new();
    let mut problems = Vec::new();
    for (id, candidates) in by_api {
        let own = local.get(id.as_str()).map(|api| &*api.descriptor);
        apis.extend(one(id, candidates, own, names, &mut problems));
    }
    (apis, problems)
}

fn one(
    id: &ApiId,
    candidates: Vec<Candidate<'_>>,
    own: Option<&ApiDescriptor>,
    names: &Names,
    problems: &mut Vec<String>,
) -> Option<RemoteApi> {
    // What the departed served counts only where nobody else does.
    let mut shut = candidates.iter().any(|candidate| candidate.quiet);
    let any_live = candidates.iter().any(|candidate| candidate.live);
    let mut groups: BTreeMap<&str, Group<'_>> = BTreeMap::new();
    for candidate in candidates.into_iter().filter(|c| c.live || !any_live) {
        let Candidate {
            service, served, ..
        } = candidate;
        let group = groups.entry(&served.api.digest).or_insert_with(|| Group {
            api: &served.api,
            service,
            members: Vec::new(),
        });
        if service.version > group.service.version {
            group.service = service;
        }
        group.members.push(candidate);
    }
    // Of equals, the one with the lower digest: the first.
    let shown = groups.values().rev().max_by(|a, b| {
        let version = a.service.version.cmp(&b.service.version);
        version.then(a.members.len().cmp(&b.members.len()))
    })?;
    let (descriptor, shown_version) = (&shown.api.descriptor, &shown.service.version);
    let queue_group = shown.members.first()?.served.queue_group.clone();
    let mut endpoints = Vec::new();
    for group in groups.values() {
        let against = own.unwrap_or(descriptor);
        if let Err(why) = fits(against, &group.api.descriptor) {
            shut = true;
            let shown = match own {
                Some(_) => "the version of this process".to_owned(),
                None => format!("version {shown_version}"),
            };
            problems.push(format!(
                "`{id}`: version {} ({}) does not fit {shown}: {why}; its instances get no calls",
                group.service.version,
                instances(group.members.iter().map(|member| member.instance)),
            ));
            continue;
        }
        for member in group.members.iter().filter(|member| member.live) {
            let native = member.instance.native;
            endpoints.push(Endpoint {
                instance: Arc::clone(member.instance),
                own_subject: native.then(|| names.api_at(id.as_str(), &member.instance.id).into()),
            });
        }
    }
    let of_others = groups.values().flat_map(|group| &group.members);
    let others = of_others.filter(|member| member.live && member.served.queue_group != queue_group);
    let others: Vec<_> = others.collect();
    if let (Some(other), Some(group)) = (others.first(), &queue_group)
        && let Some(theirs) = &other.served.queue_group
    {
        problems.push(format!(
            "`{id}` is served in the queue groups `{group}` and `{theirs}` ({}): a call at its public subject runs once in each",
            instances(others.iter().map(|member| member.instance)),
        ));
    }
    let mut descriptor = Arc::clone(descriptor);
    // Where instances disagree whether it needs a key, it does.
    if !descriptor.guarded && groups.values().any(|group| group.api.descriptor.guarded) {
        Arc::make_mut(&mut descriptor).guarded = true;
    }
    Some(RemoteApi {
        descriptor,
        plugin: Arc::clone(&shown.service.plugin),
        subject: names.api(id.as_str()).into(),
        endpoints,
        shut,
    })
}

/// Whether calls that are made for `shown` can go to whoever serves `other`.
fn fits(shown: &ApiDescriptor, other: &ApiDescriptor) -> Result<(), String> {
    let routes = |api: &ApiDescriptor| {
        let mut routes: Vec<_> = api.routes.iter().map(ToString::to_string).collect();
        routes.sort();
        routes
    };
    if routes(shown) != routes(other) {
        return Err("their routes differ".into());
    }
    if shown.bridged != other.bridged {
        return Err("one is passed requests as they come, one is not".into());
    }
    // Whatever else their documents say, each gets what the client sends.
    if shown.bridged {
        return Ok(());
    }
    let kind = |api: &ApiDescriptor| match api.reply {
        ReplyShape::Value { .. } => "a value",
        ReplyShape::Response => "a response of its own",
        ReplyShape::Stream { .. } => "a stream",
    };
    if kind(shown) != kind(other) {
        return Err(format!("one answers {}, one {}", kind(shown), kind(other)));
    }
    if shown.raw != other.raw {
        return Err("one has the envelope, one has not".into());
    }
    let find = |api: &'_ ApiDescriptor, name: &str| -> Option<Parameter> {
        api.parameters.iter().find(|p| p.name == name).cloned()
    };
    for parameter in &shown.parameters {
        let name = &parameter.name;
        match find(other, name) {
            None => return Err(format!("one takes `{name}`, one does not")),
            Some(theirs) if theirs.location != parameter.location => {
                return Err(format!("they take `{name}` from different places"));
            }
            Some(theirs) => {
                if let (Some(one), Some(other)) =
                    (kind_of(&parameter.schema), kind_of(&theirs.schema))
                    && one != other
                {
                    return Err(format!("they take `{name}` as {one} and as {other}"));
                }
            }
        }
    }
    for theirs in other.parameters.iter().filter(|p| p.required) {
        let name = &theirs.name;
        if !find(shown, name).is_some_and(|parameter| parameter.required) {
            return Err(format!("one requires `{name}`, one does not"));
        }
    }
    Ok(())
}

/// What a schema asks for, if it says so in one word.
fn kind_of(schema: &serde_json::Value) -> Option<&str> {
    match schema.get("type")?.as_str()? {
        "integer" => Some("number"),
        kind => Some(kind),
    }
}

/// A few of them by their ids.
pub(crate) fn instances<'a>(all: impl Iterator<Item = &'a Arc<Instance>>) -> String {
    const NAMED: usize = 3;
    let mut ids: Vec<&str> = all.map(|instance| &*instance.id).collect();
    ids.sort_unstable();
    let named: Vec<_> = ids.iter().take(NAMED).map(|id| format!("`{id}`")).collect();
    let one = if ids.len() == 1 {
        "instance"
    } else {
        "instances"
    };
    match ids.len().saturating_sub(NAMED) {
        0 => format!("{one} {}", named.join(", ")),
        more => format!("{one} {} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn api(changes: Value) -> ApiDescriptor {
        let mut json = json!({"routes": ["GET /api/v1/x"], "parameters": [
            {"name": "a", "required": true}, {"name": "b"}]});
        if let (Value::Object(json), Value::Object(changes)) = (&mut json, changes) {
            json.extend(changes);
        }
        let id = ApiId::parse("p.P.x").unwrap();
        ApiDescriptor::read(&id, json.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_calls_cannot_tell_apart_fits() {
        let shown = api(json!({}));
        for other in [
            json!({"summary": "other words", "deprecated": true, "idempotent": true}),
            json!({"reply": {"schema": {"type": "string"}}}),
            json!({"parameters": [{"name": "b"}, {"name": "a"}]}),
            json!({"parameters": [{"name": "a", "required": true}, {"name": "b"}, {"name": "c"}]}),
        ] {
            assert_eq!(fits(&shown, &api(other.clone())), Ok(()), "{other}");
        }
    }

    #[test]
    fn what_would_break_calls_does_not() {
        let shown = api(json!({}));
        let a = json!({"name": "a", "required": true});
        let b = json!({"name": "b"});
        for (other, reason) in [
            (json!({"routes": ["POST /api/v1/x"]}), "routes"),
            (json!({"reply": {"type": "stream"}}), "a stream"),
            (json!({"raw": true}), "envelope"),
            (json!({"parameters": [a]}), "one takes `b`"),
            (
                json!({"parameters": [a, {"name": "b", "location": "body"}]}),
                "places",
            ),
            (
                json!({"parameters": [a, {"name": "b", "required": true}]}),
                "requires `b`",
            ),
            (
                json!({"parameters": [a, b, {"name": "c", "required": true}]}),
                "requires `c`",
            ),
        ] {
            let why = fits(&shown, &api(other)).unwrap_err();
            assert!(why.contains(reason), "{why}");
        }
    }

    #[test]
    fn bridged_ones_differ_in_little_that_matters() {
        let bridged = |mut changes: Value| {
            changes["bridged"] = true.into();
            api(changes)
        };
        let shown = bridged(json!({}));
        for other in [
            json!({"reply": {"type": "stream"}}),
            json!({"parameters": [{"name": "c", "required": true}]}),
        ] {
            assert_eq!(fits(&shown, &bridged(other)), Ok(()));
        }
        let routes = json!({"routes": ["POST /api/v1/x"]});
        assert!(fits(&shown, &bridged(routes)).is_err());
        let why = fits(&shown, &api(json!({}))).unwrap_err();
        assert!(why.contains("passed requests"), "{why}");
    }

    #[test]
    fn a_few_are_named_and_the_rest_counted() {
        let all: Vec<_> = ["d", "b", "a", "c", "e"]
            .map(|id| Instance::new("p", id, "1.0.0", true))
            .into();
        assert_eq!(instances(all.iter()), "instances `a`, `b`, `c` and 2 more");
        assert_eq!(instances(all.iter().take(1)), "instance `d`");
    }
}
