//! The documentation is as the gateway is: its examples run, and its list of problems is complete.

use serde_json::{Value, json};
use tidemill_gateway::CODES;

use crate::client::{Answer, Ask, get};
use crate::rig::Running;

fn documentation() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/http.md")).unwrap()
}

/// The fenced blocks of a text: language and content.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = text.split("\n```").collect();
    parts.iter().skip(1).step_by(2).map(|part| part.split_once('\n').unwrap()).collect()
}

/// Words as a shell would split them: single and double quotes, and lines that go on.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            ('\\', None) => drop(chars.next()),
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The request that a `curl` command would make.
fn curl(command: &str) -> Ask {
    let mut words = words(command).into_iter();
    assert_eq!(words.next().as_deref(), Some("curl"), "{command}");
    let mut ask = get("");
    while let Some(word) = words.next() {
        match word.as_str() {
            "-i" | "-g" => {}
            "-H" => {
                let header = words.next().unwrap();
                let (name, value) = header.split_once(": ").unwrap();
                ask = ask.with(name, value);
            }
            "-d" | "--data-binary" => {
                ask = Ask { body: words.next().unwrap().into_bytes(), ..ask.method("POST") };
            }
            address => address.strip_prefix("http://127.0.0.1:7380").unwrap().clone_into(&mut ask.target),
        }
    }
    ask
}

/// Whether an answer is as documented; a text with `…` stands for any text.
fn fits(documented: &Value, found: &Value) -> bool {
    match (documented, found) {
        (Value::String(text), Value::String(_)) if text.contains('…') => true,
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| fits(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| fits(a, b)))
        }
        (a, b) => a == b,
    }
}

fn check(command: &str, language: &str, documented: &str, answer: &Answer) {
    match language {
        "json" => {
            let documented: Value = serde_json::from_str(documented).unwrap();
            assert!(fits(&documented, &answer.json()), "{command}\n{}", answer.text());
            assert_eq!(documented.get("type").is_some(), answer.status >= 400, "{command}");
        }
        "http" => {
            let mut lines = documented.lines();
            let status = lines.next().unwrap().split(' ').nth(1).unwrap();
            assert_eq!(status, answer.status.to_string(), "{command}");
            for line in lines {
                let (name, value) = line.split_once(": ").unwrap();
                assert_eq!(answer.header(name), Some(value), "{command}");
            }
        }
        other => panic!("a block of `{other}` follows {command}"),
    }
}

#[tokio::test]
async fn every_example_is_answered_as_it_is_documented() {
    let text = documentation();
    // The type that the documentation's batch gets wrong is not taken, and what is read has been folded.
    let gateway = Running::start().await;
    for (key, total, minute) in [("o-1", json!(12.5), 30), ("o-0", json!(80), 10), ("o-9", json!(3), 50)] {
        let created = format!("2026-01-31T12:{minute}:00Z");
        gateway.host.put("orders", key, &json!({ "status": "pending", "total": total, "created_at": created }));
    }
    gateway.host.fold_to(10);
    let blocks = blocks(&text);
    let mut run = 0;
    for pair in blocks.windows(2).filter(|pair| pair[0].0 == "sh") {
        let (command, (language, documented)) = (pair[0].1, pair[1]);
        check(command, language, documented, &gateway.ask(curl(command)).await);
        run += 1;
    }
    let commands = text.matches("\ncurl ").count();
    assert!(run == commands && run >= 10, "{run} of {commands} examples were run");
}

#[test]
fn every_problem_is_documented_with_its_status() {
    let text = documentation();
    let (_, table) = text.split_once("## Problems").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let documented: Vec<(String, String)> = rows
        .map(|row| row.split('|').map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>())
        .map(|row| (row[1].clone(), row[2].clone()))
        .collect();
    let codes: Vec<(String, String)> =
        CODES.iter().map(|(code, status, _)| ((*code).into(), status.to_string())).collect();
    assert_eq!(documented, codes);
}
