//! What `#[on_proxy]` expands to: a call to another system, and a call from one.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::args::{by_type, shorten};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::function::Elsewhere;
use crate::problem::{Loc, Problem};
use crate::reply::RawJson;

/// A value that goes to another system.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot go to another system: it cannot be written as JSON",
    label = "not serialisable",
    note = "derive it, where the type is yours: `#[derive(serde::Serialize, serde::Deserialize)]`"
)]
pub trait Outgoing: Serialize {}

#[diagnostic::do_not_recommend]
impl<T: Serialize> Outgoing for T {}

/// A value that comes from another system.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot come from another system: it cannot be read from JSON",
    label = "not deserialisable",
    note = "derive it, where the type is yours: `#[derive(serde::Serialize, serde::Deserialize)]`"
)]
pub trait Incoming: DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Incoming for T {}

/// A call of a function that runs on another system.
pub struct Away {
    elsewhere: Arc<dyn Elsewhere>,
    name: &'static str,
    /// The arguments, as JSON without the closing brace.
    object: Vec<u8>,
}

impl Away {
    /// The call of `name`, if that runs on another system.
    ///
    /// # Errors
    ///
    /// 503 if the process is stopping.
    pub fn find(ctx: &Context, name: &'static str) -> Result<Option<Self>> {
        let process = ctx.process()?;
        let elsewhere = process.elsewhere().filter(|known| known.runs(name));
        Ok(elsewhere.map(|elsewhere| Self {
            elsewhere: Arc::clone(elsewhere),
            name,
            object: vec![b'{'],
        }))
    }

    /// Adds an argument.
    ///
    /// # Errors
    ///
    /// 500 if it cannot be JSON.
    pub fn with<T: Outgoing>(mut self, name: &str, value: &T) -> Result<Self> {
        if self.object.len() > 1 {
            self.object.push(b',');
        }
        serde_json::to_writer(&mut self.object, name)?;
        self.object.push(b':');
        serde_json::to_writer(&mut self.object, value)?;
        Ok(self)
    }

    /// Makes the call.
    ///
    /// # Errors
    ///
    /// The function's own, and those of the way there.
    pub async fn call(mut self, ctx: &Context) -> Result<Answer> {
        self.object.push(b'}');
        let args = RawJson::checked(self.object.into());
        let json = self.elsewhere.call(ctx, self.name, args).await?;
        let name = self.name;
        Ok(Answer { name, json })
    }
}

/// What another system answered.
pub struct Answer {
    name: &'static str,
    json: RawJson,
}

impl Answer {
    /// The result.
    ///
    /// # Errors
    ///
    /// 502 if it is of another type.
    pub fn read<T: Incoming>(&self) -> Result<T> {
        self.json.parse().map_err(|error| {
            let message = format!("`{}` answered with a result of another type", self.name);
            Error::new(StatusCode::BAD_GATEWAY, message)
                .with_code("unexpected_reply")
                .with_source(error)
        })
    }
}

/// The named arguments that another system sent.
pub struct Received<'a> {
    values: BTreeMap<String, &'a RawValue>,
    problems: Vec<Problem>,
}

impl<'a> Received<'a> {
    /// Starts to read a JSON object.
    #[must_use]
    pub fn new(object: &'a RawJson) -> Self {
        let (values, problems) = match serde_json::from_slice(object.as_bytes()) {
            Ok(values) => (values, Vec::new()),
            Err(_) => {
                let problem =
                    Problem::new("dict_type", place(None), "expected an object of arguments");
                (BTreeMap::new(), vec![problem])
            }
        };
        Self { values, problems }
    }

    /// An argument that must be there.
    pub fn required<T: Incoming>(&mut self, name: &'static str) -> Option<T> {
        match self.values.remove(name) {
            Some(value) => self.read(name, value),
            None => {
                let text = format!("`{name}` is required");
                let problem = Problem::new("missing", place(Some(name.into())), text);
                self.problems.push(problem);
                None
            }
        }
    }

    /// An argument that may be left out or null.
    pub fn optional<T: Incoming>(&mut self, name: &'static str) -> Option<Option<T>> {
        match self.values.remove(name) {
            None => Some(None),
            Some(value) if value.get() == "null" => Some(None),
            Some(value) => self.read(name, value).map(Some),
        }
    }

    /// The report, if anything was wrong. What nobody has asked for is.
    #[must_use]
    pub fn finish(mut self) -> Option<Error> {
        // Whoever sends more than is known means more than would be done.
        let unknown = self.values.into_keys().map(|name| {
            let text = "the function has no argument of this name";
            Problem::new("extra_forbidden", place(Some(name.into())), text)
        });
        self.problems.extend(unknown);
        shorten(&mut self.problems);
        (!self.problems.is_empty()).then(|| Error::validation(self.problems))
    }

    fn read<T: Incoming>(&mut self, name: &'static str, value: &RawValue) -> Option<T> {
        let json = value.get();
        let read = serde_json::from_str(json);
        read.map_err(|error| {
            let loc = place(Some(name.into()));
            self.problems
                .push(by_type::<T>(json.as_bytes(), loc, &error));
        })
        .ok()
    }
}

/// Where an argument is in what another system sends.
fn place(name: Option<Loc>) -> Vec<Loc> {
    let data = [Loc::from("body"), Loc::from("data")];
    data.into_iter().chain(name).collect()
}

/// A result as JSON.
///
/// # Errors
///
/// 500 if it cannot be.
pub fn written<T: Outgoing>(value: &T) -> Result<RawJson> {
    Ok(RawJson::checked(serde_json::to_vec(value)?.into()))
}
