//! Texts from outside, made fit for a log line, a header and a terminal.
//!
//! An error text may hold whatever a guest or a producer wrote. Whoever shows it to a person sends it through
//! [`clean_text`] first: it cannot move the cursor, start a line of its own, turn its direction around, or be longer than
//! agreed. Escaping (`\u{1b}`) was not taken: it keeps the noise and makes short limits shorter.

/// Ends a text that was cut.
const CUT: &str = "…";

/// The text on one line, without terminal control sequences, in at most `max_bytes` bytes. White space of any kind
/// becomes a space, a control sequence vanishes, any other control character becomes `�`. A longer text is cut between
/// two characters and ends with `…`. Cleaning a clean text changes nothing.
pub fn clean_text(text: &str, max_bytes: usize) -> String {
    // Most of what plugins write, and many times as fast.
    if text.len() <= max_bytes && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    // A byte more than the limit shows that there is more; the rest of a huge text is not looked at.
    let mut clean = String::with_capacity(text.len().min(max_bytes + 4));
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' | '\u{9b}' => skip_sequence(c, &mut chars),
            '\t'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => clean.push(' '),
            _ if c.is_control() || turns_direction(c) => clean.push(char::REPLACEMENT_CHARACTER),
            _ => clean.push(c),
        }
        if clean.len() > max_bytes {
            return cut(&clean, max_bytes);
        }
    }
    clean
}

/// A text of at most `max_bytes` bytes; cut between two characters, with `…` at its end, if it was longer.
fn cut(text: &str, max_bytes: usize) -> String {
    if max_bytes < CUT.len() {
        return text[..text.floor_char_boundary(max_bytes)].to_owned();
    }
    let end = text.floor_char_boundary(max_bytes - CUT.len());
    format!("{}{CUT}", &text[..end])
}

/// Bidirectional overrides and isolates: they make a text read as something it is not.
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Skips the rest of a control sequence (ECMA-48): `ESC [ … letter`, or `ESC ] … BEL` where the end is there. Of anything
/// else only the escape character goes.
fn skip_sequence(start: char, chars: &mut std::str::Chars<'_>) {
    let rest = chars.as_str();
    let body = if start == '\u{9b}' { Some(rest) } else { rest.strip_prefix('[') };
    let after = match body {
        Some(body) => {
            let body = body.trim_start_matches(|c| matches!(c, '\u{20}'..='\u{3f}'));
            body.strip_prefix(|c| matches!(c, '\u{40}'..='\u{7e}')).unwrap_or(body)
        }
        None => match rest
            .strip_prefix(']')
            .and_then(|command| command.find(['\u{7}', '\u{1b}']).map(|end| &command[end..]))
        {
            Some(end) => end.strip_prefix('\u{7}').or_else(|| end.strip_prefix("\u{1b}\\")).unwrap_or(end),
            None => rest,
        },
    };
    *chars = after.chars();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_become_one_harmless_line() {
        for (dirty, clean) in [
            ("plain ≥ 0", "plain ≥ 0"),
            ("two\r\nlines\tand a tab", "two  lines and a tab"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{9b}2Jcleared", "cleared"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link", "link"),
            ("\u{1b}]never ends", "]never ends"),
            ("\u{1b}[31", ""),
            ("bell\u{7} nul\u{0} c1\u{80}", "bell� nul� c1�"),
            ("user\u{202e}gpj.exe", "user�gpj.exe"),
        ] {
            assert_eq!(clean_text(dirty, 100), clean, "{dirty:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(clean_text("abcdefgh", 8), "abcdefgh");
        assert_eq!(clean_text("abcdefghi", 8), "abcde…");
        assert_eq!(clean_text("ääääääää", 8), "ää…");
        assert_eq!(clean_text("ää", 2), "ä");
        assert_eq!(clean_text("abc", 0), "");
    }

    proptest! {
        #[test]
        fn clean_texts_are_short_and_stay_as_they_are(text in "\\PC*|[\\x00-\\x9f\\[\\]m;]*", max in 0usize..64) {
            let clean = clean_text(&text, max);
            prop_assert!(clean.len() <= max);
            prop_assert!(!clean.chars().any(char::is_control));
            prop_assert_eq!(clean_text(&clean, max), clean);
        }
    }
}
