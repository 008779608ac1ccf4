//! What somebody meant who wrote an unknown word: a typo, or the word of another system.

/// What to say about an unknown field.
pub(super) struct Advice {
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// The known field that was probably meant.
    pub(super) meant: Option<&'static str>,
}

/// Words of other systems, the field that does the same here, and a sentence where the difference matters.
const FOREIGN: &[(&str, &str, Option<&str>)] = &[
    ("retries", "max_attempts", Some(ATTEMPTS)),
    ("max_retries", "max_attempts", Some(ATTEMPTS)),
    ("max_deliver", "max_attempts", Some(ATTEMPTS)),
    ("attempts", "max_attempts", Some(ATTEMPTS)),
    ("steps", "max_attempts", Some(ATTEMPTS)),
    ("retries", "retry", Some(RETRY)),
    ("max_retries", "retry", Some(RETRY)),
    ("max_deliver", "retry", Some(RETRY)),
    ("max_attempts", "retry", Some(RETRY)),
    ("attempts", "retry", Some(RETRY)),
    ("retry_policy", "retry", None),
    ("backoff", "retry", Some("a policy may stand in place: `retry: { backoff: { initial: 1s } }`")),
    ("interval", "initial", None),
    ("initial_interval", "initial", None),
    ("factor", "multiplier", None),
    ("cap", "max", None),
    ("max_interval", "max", None),
    ("randomization", "jitter", None),
    ("topic", "subjects", Some(SUBJECTS)),
    ("topics", "subjects", Some(SUBJECTS)),
    ("subject", "subjects", Some("a list: `subjects: [\"orders.>\"]`")),
    ("filter_subject", "subjects", Some(SUBJECTS)),
    ("filter_subjects", "subjects", None),
    ("topic", "source", Some(SOURCE)),
    ("subject", "source", Some(SOURCE)),
    ("subjects", "source", Some(SOURCE)),
    ("stream", "source", Some(SOURCE)),
    ("start", "source", Some(SOURCE)),
    ("from", "source", Some(SOURCE)),
    ("input", "source", Some(SOURCE)),
    ("deliver_policy", "start", Some("`start` is `new`, `all`, `{ sequence: n }` or `{ time: ... }`")),
    ("starting_position", "start", Some("`start` is `new`, `all`, `{ sequence: n }` or `{ time: ... }`")),
    ("plugin", "handler", Some("`handler` names the plugin: its file in the plugins folder, without `.wasm`")),
    ("component", "handler", Some("`handler` names the plugin: its file in the plugins folder, without `.wasm`")),
    ("function", "handler", Some("`handler` names the plugin: its file in the plugins folder, without `.wasm`")),
    ("target", "handler", Some("`handler` names the plugin: its file in the plugins folder, without `.wasm`")),
    ("match", "filter", None),
    ("when", "filter", None),
    ("pattern", "filter", None),
    ("publish", "emits", None),
    ("publishes", "emits", None),
    ("output", "emits", None),
    ("outputs", "emits", None),
    ("dlq", "dead_letter", Some(DEAD_LETTER)),
    ("dead_letter_topic", "dead_letter", Some(DEAD_LETTER)),
    ("dead_letter_subject", "dead_letter", Some(DEAD_LETTER)),
    ("on_failure", "dead_letter", Some(DEAD_LETTER)),
    ("concurrency", "max_in_flight", None),
    ("max_concurrency", "max_in_flight", None),
    ("max_ack_pending", "max_in_flight", None),
    ("ack_wait", "timeout", Some("the host keeps an event acknowledged as in progress until `timeout` has passed")),
    ("deadline", "timeout", None),
    ("nats", "broker", Some("`broker: { nats: { servers: [\"nats://127.0.0.1:4222\"] } }`")),
    ("embedded", "broker", Some("`broker: { embedded: { dir: ./.tidemill } }`")),
    ("url", "servers", Some("a list: `servers: [\"nats://127.0.0.1:4222\"]`")),
    ("urls", "servers", None),
    ("server", "servers", Some("a list: `servers: [\"nats://127.0.0.1:4222\"]`")),
    ("creds", "credentials", None),
    ("creds_file", "credentials", Some("the text of the file: `credentials: \"${file:./nats.creds}\"`")),
    ("username", "user", None),
    ("path", "dir", None),
    ("directory", "dir", None),
    ("ca", "ca_file", None),
    ("cert", "cert_file", None),
    ("key", "key_file", None),
    ("duplicates", "duplicate_window", None),
    ("dedup_window", "duplicate_window", None),
    ("num_replicas", "replicas", None),
    ("format", "envelope", None),
    ("routing", "routes", None),
    ("subscriptions", "routes", None),
    (
        "env",
        "config",
        Some("plugins see no environment, but values of `config`: `config: { region: \"${env:REGION}\" }`"),
    ),
    ("vars", "config", None),
    ("variables", "config", None),
    ("max_memory", "memory", None),
    ("tests", "", Some("cases are written in files of their own, `*_test.yaml`, for `tidemill test`")),
    ("hops", "max_hops", None),
    ("grace_period", "shutdown_grace", None),
    ("shutdown_timeout", "shutdown_grace", None),
    ("<<", "", Some("merge keys are not part of YAML 1.2; an alias may stand for a whole value")),
];

const ATTEMPTS: &str = "`max_attempts` counts all attempts, the first included";
const RETRY: &str = "`retry: { max_attempts: 5 }`, which counts all attempts, the first included";
const SUBJECTS: &str = "a list of NATS subjects: `subjects: [\"orders.>\"]`";
const SOURCE: &str = "`source: { stream: ORDERS, subjects: [\"orders.created\"], start: new }`";
const DEAD_LETTER: &str = "`dead_letter: { subject: \"dlq.{route}\" }`";

/// What to say about a field that is not among the known ones.
pub(super) fn advise(unknown: &str, known: &[&'static str]) -> Advice {
    let shown = super::diagnostic::shorten(unknown);
    let foreign =
        FOREIGN.iter().find(|(word, field, _)| *word == unknown && (field.is_empty() || known.contains(field)));
    let (meant, hint) = match foreign {
        Some((_, field, hint)) => (known.iter().copied().find(|name| name == field), hint.map(str::to_owned)),
        None => (closest(unknown, known.iter().copied()), None),
    };
    match meant {
        Some(field) => Advice { message: format!("unknown field `{shown}`, did you mean `{field}`?"), hint, meant },
        None => {
            let hint = hint.or_else(|| Some(format!("the fields known here are {}", enumerate(known))));
            Advice { message: format!("unknown field `{shown}`"), hint, meant }
        }
    }
}

/// The word that is so close that it was probably meant.
pub(super) fn closest<'w>(unknown: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let wanted = plain(unknown);
    let (distance, word) = known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&wanted, &plain(word)), word))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= (wanted.chars().count().max(word.len()) / 3).max(1) && distance < word.len()).then_some(word)
}

/// `maxAttempts`, `max-attempts` and `max_attempts` are the same word, differently dressed.
fn plain(word: &str) -> String {
    word.chars().take(100).filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// `a`, `b` and `c`
pub(super) fn enumerate<T: AsRef<str>>(words: &[T]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_find_their_word_and_other_words_do_not() {
        let known = ["handler", "max_in_flight", "emits"];
        assert_eq!(closest("handlr", known), Some("handler"));
        assert_eq!(closest("maxInFlight", known), Some("max_in_flight"));
        assert_eq!(closest("emit", known), Some("emits"));
        assert_eq!(closest("ordering", known), None);
        assert_eq!(closest("x", ["a"]), None);
    }
}
