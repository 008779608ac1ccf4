//! The parameters of an address: `status=pending&total%5Bgte%5D=100`.

use percent_encoding::percent_decode_str;
use tidemill_core::read_model::Parameter;

use crate::problem::{Problem, ProblemKind};

/// Decodes the parameters, in their order. A `+` is a space, as forms have it.
pub(crate) fn parse(query: Option<&str>) -> Result<Vec<Parameter>, Problem> {
    let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Result<String, Problem> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(String::from).map_err(|_| {
        Problem::new(ProblemKind::BadQuery, format!("the parameter `{text}` is not UTF-8 after unescaping"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_in_their_order() {
        let pairs = parse(Some("b=x+y%2B&a%5Bgte%5D=%C3%A4&&c&d=")).unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("b", "x y+"), ("a[gte]", "ä"), ("c", ""), ("d", "")]);
        assert!(parse(None).unwrap().is_empty());
        assert!(parse(Some("a=%ff")).is_err());
    }
}
