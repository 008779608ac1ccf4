//! Attribute values as header values: percent-encoding by the CloudEvents NATS binding, section 3.1.3.2.
//!
//! Space, `"`, `%` and everything outside of printable ASCII is encoded. Decoding accepts more: what a producer wrote
//! without encoding, and the quoted strings of older versions of the binding.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::DecodeError;
use super::error::shown;

/// Beside these every byte outside of ASCII is encoded.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// The header value of an attribute value.
pub(super) fn encode(value: &str) -> Cow<'_, str> {
    utf8_percent_encode(value, ENCODED).into()
}

/// The attribute value of a header value. Borrows unless there is something to decode.
pub(super) fn decode<'a>(attribute: &str, value: &'a str) -> Result<Cow<'a, str>, DecodeError> {
    let unquoted = match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => Cow::Owned(unescape(quoted)),
        None => Cow::Borrowed(value),
    };
    if !unquoted.contains('%') {
        return Ok(unquoted);
    }
    if let Some(bad) = bad_escape(&unquoted) {
        return Err(DecodeError::BadEscape { attribute: shown(attribute), found: shown(bad) });
    }
    match percent_decode_str(&unquoted).decode_utf8() {
        Ok(text) => Ok(Cow::Owned(text.into_owned())),
        Err(_) => Err(DecodeError::NotUtf8 { attribute: shown(attribute), found: shown(value) }),
    }
}

/// Takes the backslashes of a quoted string away (RFC 7230, section 3.2.6).
fn unescape(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    text
}

/// The first `%` that is not followed by two hexadecimal digits, with what follows.
fn bad_escape(text: &str) -> Option<&str> {
    text.match_indices('%').map(|(at, _)| &text[at..]).find(|escape| {
        let digits = escape.as_bytes().get(1..3);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_binding_s_own_example() {
        assert_eq!(encode("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(decode("x", "Euro%20%e2%82%AC%20%F0%9F%98%80").unwrap(), "Euro € 😀");
    }

    #[test]
    fn decoding_accepts_what_older_producers_write() {
        for (header, value) in [
            ("/orders/eu", "/orders/eu"),
            ("plain € and space", "plain € and space"),
            (r#""quoted \"text\" with \\""#, r#"quoted "text" with \"#),
            (r#""quoted%20once""#, "quoted once"),
            ("%25%32%30", "%20"),
            ("\"", "\""),
            ("", ""),
        ] {
            assert_eq!(decode("x", header).unwrap(), value, "{header}");
        }
        assert!(matches!(decode("x", "/orders"), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn bad_sequences_are_named() {
        for (header, message) in [
            ("100%", "attribute `subject` is badly escaped: expected `%` and two hexadecimal digits, found `%`"),
            ("a%2", "attribute `subject` is badly escaped: expected `%` and two hexadecimal digits, found `%2`"),
            ("a%zz!", "attribute `subject` is badly escaped: expected `%` and two hexadecimal digits, found `%zz!`"),
            ("%2€", "attribute `subject` is badly escaped: expected `%` and two hexadecimal digits, found `%2€`"),
            // An overlong space, and a lone continuation byte.
            ("%C0%A0", "attribute `subject` is not UTF-8 after unescaping, found `%C0%A0`"),
            ("%80", "attribute `subject` is not UTF-8 after unescaping, found `%80`"),
        ] {
            assert_eq!(decode("subject", header).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn every_text_survives(text in any::<String>()) {
            let header = encode(&text).into_owned();
            prop_assert!(header.bytes().all(|b| (0x21..=0x7e).contains(&b)));
            prop_assert_eq!(decode("x", &header).unwrap(), text);
        }
    }
}
