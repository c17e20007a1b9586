//! Budgets: how long a document may take to read, and what its references may bring in.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

/// What references may bring in for one operation, in about bytes of JSON.
const ROOM: usize = 8 << 20;
/// What they may bring in for all paths.
const ROOM_FOR_PATHS: usize = 32 << 20;

/// See the module.
pub(super) struct Budget {
    until: Instant,
    left: Cell<usize>,
}

impl Budget {
    pub(super) fn new(time: Duration) -> Self {
        Self {
            until: Instant::now() + time,
            left: Cell::new(ROOM_FOR_PATHS),
        }
    }

    /// Whether its time is over.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Begins an operation.
    pub(super) fn renew(&self) {
        self.left.set(ROOM);
    }

    /// Takes in `object`.
    ///
    /// # Errors
    ///
    /// That it is too much.
    pub(super) fn take(&self, object: &Map<String, Value>) -> Result<(), String> {
        let left = members(object, self.left.get());
        self.left.set(left.unwrap_or_default());
        match left {
            Some(_) => Ok(()),
            None => Err("what it refers to is too large".into()),
        }
    }
}

/// What is left of `room` beside `object`.
fn members(object: &Map<String, Value>, room: usize) -> Option<usize> {
    let mut members = object.iter();
    members.try_fold(room.checked_sub(2)?, |room, (key, value)| {
        beside(value, room.checked_sub(key.len() + 4)?)
    })
}

fn beside(value: &Value, room: usize) -> Option<usize> {
    match value {
        Value::Object(object) => members(object, room),
        Value::Array(list) => {
            let mut items = list.iter();
            items.try_fold(room.checked_sub(2)?, |room, item| {
                beside(item, room.checked_sub(1)?)
            })
        }
        Value::String(text) => room.checked_sub(text.len() + 2),
        _ => room.checked_sub(4),
    }
}
