//! The same call again: does it say the same?
//!
//! A host may call a plugin twice with one event, after a crash between the call and its commit, and then only what was the same
//! both times happens once. Calls are repeated on one instance, as a host would, so what a plugin wrongly keeps in a global
//! shows; with `--vary` also what hangs on the hour and on chance.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::rehearse::{Came, Take, as_json};

/// So many differences of one call are told.
const MOST: usize = 20;

/// How far apart the calls are that vary: an hour and a bit, so that whatever is cut from a time differs.
const APART: Duration = Duration::from_millis(3_661_001);

/// Where another call said something else.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The number of the call, from 1.
    pub call: u32,
    /// A JSON pointer into the answer.
    pub at: String,
    pub first: Value,
    pub this: Value,
}

/// The same event at another hour, with other numbers.
pub(super) fn varied(take: &Take, call: u32) -> Take {
    let mut take = take.clone();
    take.scene.now += APART * call;
    take.scene.seed = take.scene.seed.wrapping_add(u64::from(call));
    take
}

/// What differs. The host's own time of an emit is not the plugin's doing.
pub(super) fn compare(first: &Came, this: &Came, call: u32) -> Vec<Difference> {
    let mut found = Vec::new();
    let (first, this) = (without_times(as_json(first)), without_times(as_json(this)));
    walk(&first, &this, &mut String::new(), &mut |at, first, this| {
        if found.len() < MOST {
            found.push(Difference { call, at: at.to_owned(), first: first.clone(), this: this.clone() });
        }
    });
    found
}

fn without_times(mut answer: Value) -> Value {
    for emit in answer["emits"].as_array_mut().into_iter().flatten() {
        if let Some(emit) = emit.as_object_mut() {
            emit.remove("time");
        }
    }
    answer
}

fn walk(first: &Value, this: &Value, at: &mut String, tell: &mut impl FnMut(&str, &Value, &Value)) {
    let children: Vec<(String, &Value, &Value)> = match (first, this) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
            names.map(|name| (name.replace('~', "~0").replace('/', "~1"), &first[name], &this[name])).collect()
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().map(|(index, (a, b))| (index.to_string(), a, b)).collect()
        }
        _ if first == this => return,
        _ => return tell(at, first, this),
    };
    let length = at.len();
    for (name, a, b) in children {
        at.push('/');
        at.push_str(&name);
        walk(a, b, at, tell);
        at.truncate(length);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_told_where_they_are() {
        let (a, b) = (json!({ "a/b": [1, { "c": 2 }], "d": 1 }), json!({ "a/b": [1, { "c": 3 }], "e": 1 }));
        let mut told = Vec::new();
        walk(&a, &b, &mut String::new(), &mut |at, a, b| told.push(format!("{at}: {a} {b}")));
        assert_eq!(told, ["/a~1b/1/c: 2 3", "/d: 1 null", "/e: null 1"]);
    }
}
