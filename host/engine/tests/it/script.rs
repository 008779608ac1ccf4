//! Projections that do one thing after the other, whatever the event: what a test wants to see stands in the test.

use crate::guest::{HOST, READ_MODEL, projection};

/// One call of the read model. Its answer lies in a place of its own, and is not looked at unless the script's end says so.
#[derive(Clone, Copy)]
pub(crate) enum Step<'a> {
    Get(&'a str, &'a str),
    Put(&'a str, &'a str, &'a str),
    Delete(&'a str, &'a str),
    /// Collection, field, value, key after which, limit.
    Find(&'a str, &'a str, &'a str, Option<&'a str>, u32),
}

/// How a script ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Ok,
    /// With the text that the step with this number answered: a document's body, or an error's text.
    Tell(usize),
    /// With the number of the error's case that the step answered, `0` for the first; with `-` if it was no error.
    Case(usize),
    /// With what the step found: `key=body;` each.
    Found(usize),
    /// With a retry that has the step's text as its reason.
    Retry(usize),
    Trap,
}

/// Where the texts begin, and where the answers do.
const TEXTS: usize = 1000;
const ANSWERS: usize = 50_000;
const TOLD: usize = 40_000;

const HELPERS: &str = r#"
    (global $told (mut i32) (i32.const 40000))
    (func $say (param $text i32) (param $length i32)
        (memory.copy (global.get $told) (local.get $text) (local.get $length))
        (global.set $told (i32.add (global.get $told) (local.get $length))))
    (func $say_char (param $char i32)
        (i32.store8 (global.get $told) (local.get $char))
        (global.set $told (i32.add (global.get $told) (i32.const 1))))
    (func $say_case (param $answer i32)
        (if (i32.load8_u (local.get $answer))
            (then (call $say_char (i32.add (i32.const 48) (i32.load8_u (i32.add (local.get $answer) (i32.const 4))))))
            (else (call $say_char (i32.const 45)))))
    (func $say_text (param $answer i32)
        (call $say (i32.load (i32.add (local.get $answer) (i32.const 8))) (i32.load (i32.add (local.get $answer) (i32.const 12)))))
    (func $say_found (param $answer i32) (local $at i32) (local $end i32)
        (local.set $at (i32.load (i32.add (local.get $answer) (i32.const 4))))
        (local.set $end (i32.add (local.get $at)
            (i32.mul (i32.const 16) (i32.load (i32.add (local.get $answer) (i32.const 8))))))
        (block $done (loop $next
            (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
            (call $say (i32.load (local.get $at)) (i32.load (i32.add (local.get $at) (i32.const 4))))
            (call $say_char (i32.const 61))
            (call $say_text (local.get $at))
            (call $say_char (i32.const 59))
            (local.set $at (i32.add (local.get $at) (i32.const 16)))
            (br $next))))
    (func $answer (param $text i32) (param $length i32) (result i32)
        (i32.store8 (i32.const 16) (i32.const 0))
        (i32.store (i32.const 20) (local.get $text))
        (i32.store (i32.const 24) (local.get $length))
        (i32.const 16))"#;

/// A projection that does this with every event. What it tells, it rejects the event with.
pub(crate) fn folding(steps: &[Step<'_>], end: End) -> Vec<u8> {
    let mut texts = Texts::default();
    let body = body(&mut texts, steps);
    let end = match end {
        End::Ok => "(call $ok)".to_owned(),
        End::Trap => "unreachable".to_owned(),
        End::Retry(_) => format!("{} (call $retry (i32.const 0) (i32.const 0) {TOLD_TEXT})", telling(end)),
        _ => format!("{} (call $reject {TOLD_TEXT})", telling(end)),
    };
    let data = texts.data();
    let function =
        format!("(func $handle (param $in i32) (result i32) (global.set $told (i32.const {TOLD})) {body} {end})");
    projection(&[READ_MODEL], &format!("{HELPERS} {data} {function}"))
}

/// A projection that folds nothing and does this with every question. What it tells, it answers.
pub(crate) fn asking(steps: &[Step<'_>], end: End) -> Vec<u8> {
    let mut texts = Texts::default();
    let body = body(&mut texts, steps);
    let end = match end {
        End::Ok => "(call $answer (local.get $params) (local.get $params_length))".to_owned(),
        End::Trap => "unreachable".to_owned(),
        End::Retry(_) => format!("{} (call $retry (i32.const 0) (i32.const 0) {TOLD_TEXT})", telling(end)),
        _ => format!("{} (call $answer {TOLD_TEXT})", telling(end)),
    };
    answering_with(&format!("{body} {end}"), &texts.data())
}

/// A projection that folds nothing and answers with this expression.
pub(crate) fn answering_with(expression: &str, fields: &str) -> Vec<u8> {
    let query = format!(
        "(func $handle (param $in i32) (result i32) (call $ok))
         (func $query (param $name i32) (param $name_length i32) (param $params i32) (param $params_length i32) (result i32)
             (global.set $told (i32.const {TOLD})) {expression})"
    );
    projection(&[READ_MODEL, HOST], &format!("{HELPERS} {fields} {query}"))
}

const TOLD_TEXT: &str = "(i32.const 40000) (i32.sub (global.get $told) (i32.const 40000))";

fn telling(end: End) -> String {
    let (how, step) = match end {
        End::Tell(step) | End::Retry(step) => ("text", step),
        End::Case(step) => ("case", step),
        End::Found(step) => ("found", step),
        End::Ok | End::Trap => unreachable!("tells nothing"),
    };
    format!("(call $say_{how} (i32.const {}))", ANSWERS + 32 * step)
}

fn body(texts: &mut Texts, steps: &[Step<'_>]) -> String {
    let steps = steps.iter().enumerate().map(|(number, step)| {
        let answer = format!("(i32.const {})", ANSWERS + 32 * number);
        let mut text = |text: &str| texts.place(text);
        match *step {
            Step::Get(collection, key) => format!("(call $get {} {} {answer})", text(collection), text(key)),
            Step::Put(collection, key, body) => {
                format!("(call $put {} {} {} {answer})", text(collection), text(key), text(body))
            }
            Step::Delete(collection, key) => format!("(call $delete {} {} {answer})", text(collection), text(key)),
            Step::Find(collection, field, value, after, limit) => format!(
                "(call $find_raw {} {} {} (i32.const {}) {} (i32.const {limit}) {answer})",
                text(collection),
                text(field),
                text(value),
                u8::from(after.is_some()),
                text(after.unwrap_or_default()),
            ),
        }
    });
    steps.collect()
}

/// The texts of a script, one after the other in the guest's memory.
#[derive(Default)]
struct Texts(String);

impl Texts {
    /// A text's address and length.
    fn place(&mut self, text: &str) -> String {
        let address = TEXTS + self.0.len();
        self.0.push_str(text);
        format!("(i32.const {address}) (i32.const {})", text.len())
    }

    fn data(&self) -> String {
        let bytes: String = self.0.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        format!("(data (i32.const {TEXTS}) \"{bytes}\")")
    }
}
