//! The matchers of a field's list, one function for each form.

use ipnet::IpNet;
use serde_json::Value;

use super::Compiler;
use crate::filter::fold::IgnoreCase;
use crate::filter::matcher::{Bound, Matcher, Numeric};
use crate::filter::problem::named;
use crate::filter::suggest;
use crate::filter::wildcard::{Wildcard, WildcardError};

const NUMERIC_FORM: &str = "a comparison is `[\"=\", 5]`, `[\">=\", 5]` or `[\">\", 0, \"<=\", 5]`";

impl Compiler {
    /// One entry of a field's list: a value, or an object with one operator.
    pub(super) fn matcher(&mut self, written: &Value) -> Option<Matcher> {
        match written {
            Value::Object(_) => {
                let (operator, operand) = self.single_entry(written)?;
                self.within(operator, |this| this.operator(operator, operand))
            }
            Value::Array(_) => {
                self.refuse("expected a value or an operator, found a list", Some("the list is one level deep"))
            }
            value => exact(value),
        }
    }

    fn operator(&mut self, operator: &str, operand: &Value) -> Option<Matcher> {
        match operator {
            "prefix" | "suffix" if operand.is_object() => self.ignoring_case(operator, operand),
            "prefix" | "suffix" | "equals-ignore-case" | "wildcard" => {
                let text = self.text(operator, operand)?;
                self.text_matcher(operator, text)
            }
            "numeric" => self.numeric(operand).map(Matcher::Numeric),
            "anything-but" => self.anything_but(operand),
            "exists" => match operand {
                Value::Bool(wanted) => Some(Matcher::Exists(*wanted)),
                other => self.refuse(format!("`exists` takes `true` or `false`, found {}", named(other)), None),
            },
            "cidr" => self.cidr(operand).map(Matcher::Cidr),
            unknown => self.refuse(format!("`{unknown}` is not an operator"), Some(&suggest::operator(unknown))),
        }
    }

    /// An operator that takes one text.
    fn text_matcher(&mut self, operator: &str, text: &str) -> Option<Matcher> {
        match operator {
            "prefix" => Some(Matcher::Prefix(text.into())),
            "suffix" => Some(Matcher::Suffix(text.into())),
            "equals-ignore-case" => Some(Matcher::EqualsIgnoreCase(IgnoreCase::new(text))),
            _ => match Wildcard::try_new(text) {
                Ok(wildcard) => Some(Matcher::Wildcard(wildcard)),
                Err(WildcardError::TwoAsterisks) => self.refuse(
                    format!("`{text}` has two asterisks in a row"),
                    Some("one `*` stands for any text already; an asterisk itself is `\\*`"),
                ),
                Err(WildcardError::BadEscape(_)) => self.refuse(
                    format!("`{text}` has a backslash that escapes nothing"),
                    Some("only `\\*` and `\\\\` are escapes"),
                ),
            },
        }
    }

    /// `{ prefix: { equals-ignore-case: "x" } }` and the same for `suffix`.
    fn ignoring_case(&mut self, operator: &str, operand: &Value) -> Option<Matcher> {
        let (inner, text) = self.single_entry(operand)?;
        self.within(inner, |this| {
            if inner != "equals-ignore-case" {
                let message = format!("`{operator}` takes a text or `equals-ignore-case`, found `{inner}`");
                return this.refuse(message, None);
            }
            let text = IgnoreCase::new(this.text(inner, text)?);
            Some(if operator == "prefix" { Matcher::PrefixIgnoreCase(text) } else { Matcher::SuffixIgnoreCase(text) })
        })
    }

    fn anything_but(&mut self, operand: &Value) -> Option<Matcher> {
        let refused = match operand {
            Value::Object(_) => {
                let (inner, operand) = self.single_entry(operand)?;
                self.within(inner, |this| this.anything_but_operator(inner, operand))?
            }
            Value::Array(values) => self.each(values, |this, value| {
                exact(value).or_else(|| {
                    let message = format!("a list of `anything-but` holds values, found {}", named(value));
                    this.refuse(message, Some("an operator stands outside: `anything-but: { prefix: [..] }`"))
                })
            })?,
            value => exact(value).into_iter().collect(),
        };
        Some(Matcher::AnythingBut(refused))
    }

    /// `{ anything-but: { prefix: x } }`, where x is a text or a list of texts, and the same for three more operators.
    fn anything_but_operator(&mut self, operator: &str, operand: &Value) -> Option<Box<[Matcher]>> {
        if !matches!(operator, "prefix" | "suffix" | "equals-ignore-case" | "wildcard") {
            let message = format!("`anything-but` cannot be combined with `{operator}`");
            let hint = "it takes values, `prefix`, `suffix`, `equals-ignore-case` or `wildcard`";
            return self.refuse(message, Some(hint));
        }
        let one = |this: &mut Self, operand: &Value| {
            let text = this.text(operator, operand)?;
            if text.is_empty() && matches!(operator, "prefix" | "suffix") {
                return this.refuse(format!("every text has the empty {operator}, so nothing would be admitted"), None);
            }
            this.text_matcher(operator, text)
        };
        match operand {
            Value::Array(texts) => self.each(texts, one),
            text => one(self, text).map(|matcher| [matcher].into()),
        }
    }

    fn numeric(&mut self, operand: &Value) -> Option<Numeric> {
        let Value::Array(terms) = operand else {
            return self.refuse(format!("`numeric` takes a list, found {}", named(operand)), Some(NUMERIC_FORM));
        };
        let numeric = match terms.as_slice() {
            [sign, number] => self.comparison(sign, number)?,
            [low_sign, low, high_sign, high] => {
                let (first, second) = (self.comparison(low_sign, low)?, self.comparison(high_sign, high)?);
                match (first, second) {
                    (Numeric::Range { low, high: None }, Numeric::Range { low: None, high }) => {
                        Numeric::Range { low, high }
                    }
                    (Numeric::Range { low: None, .. }, Numeric::Range { high: None, .. }) => {
                        let hint = format!("write `[{high_sign}, {high}, {low_sign}, {low}]`");
                        return self.refuse("a range names its lower end first", Some(&hint));
                    }
                    _ => return self.refuse("a range has one lower and one upper end", Some(NUMERIC_FORM)),
                }
            }
            other => {
                let message = format!("`numeric` takes one or two comparisons, found a list of {}", other.len());
                return self.refuse(message, Some(NUMERIC_FORM));
            }
        };
        if numeric.is_empty() {
            return self.refuse(format!("no number is {numeric}"), None);
        }
        Some(numeric)
    }

    fn comparison(&mut self, sign: &Value, number: &Value) -> Option<Numeric> {
        let Some(number) = number.as_f64() else {
            return self.refuse(
                format!("expected a number behind {}, found {}", named(sign), named(number)),
                Some(NUMERIC_FORM),
            );
        };
        let bound = |included| Some(Bound { number, included });
        match sign.as_str() {
            Some("=") => Some(Numeric::Equal(number)),
            Some(">") => Some(Numeric::Range { low: bound(false), high: None }),
            Some(">=") => Some(Numeric::Range { low: bound(true), high: None }),
            Some("<") => Some(Numeric::Range { low: None, high: bound(false) }),
            Some("<=") => Some(Numeric::Range { low: None, high: bound(true) }),
            Some("!=" | "<>") => {
                self.refuse("`!=` is not a comparison", Some(&format!("write `{{ anything-but: {number} }}`")))
            }
            _ => self.refuse(
                format!("expected one of `=`, `>`, `>=`, `<` and `<=`, found {}", named(sign)),
                Some(NUMERIC_FORM),
            ),
        }
    }

    fn cidr(&mut self, operand: &Value) -> Option<IpNet> {
        let text = self.text("cidr", operand)?;
        match text.parse() {
            Ok(net) => Some(net),
            Err(_) => {
                let hint = match text.parse() {
                    Ok(std::net::IpAddr::V4(address)) => format!("a single address is `{address}/32`"),
                    Ok(std::net::IpAddr::V6(address)) => format!("a single address is `{address}/128`"),
                    Err(_) => "a range is written as `10.0.0.0/24` or `2001:db8::/32`".to_owned(),
                };
                self.refuse(format!("`{text}` is not a range of IP addresses"), Some(&hint))
            }
        }
    }

    // --- shared forms

    fn text<'v>(&mut self, operator: &str, operand: &'v Value) -> Option<&'v str> {
        match operand {
            Value::String(text) => Some(text),
            Value::Array(_) => self.refuse(
                format!("`{operator}` takes one text, found a list"),
                Some(&format!("write one matcher for each: `[{{ {operator}: .. }}, {{ {operator}: .. }}]`")),
            ),
            other => self.refuse(format!("`{operator}` takes a text, found {}", named(other)), None),
        }
    }

    /// The operator and operand of an object that must have one entry.
    fn single_entry<'v>(&mut self, written: &'v Value) -> Option<(&'v str, &'v Value)> {
        let entries = written.as_object()?;
        match (entries.iter().next(), entries.len()) {
            (Some((name, value)), 1) => Some((name, value)),
            (_, count) => self.refuse(
                format!("expected one operator, found {count}"),
                Some("the matchers of a list are alternatives, each an object of its own"),
            ),
        }
    }

    fn each(&mut self, values: &[Value], one: impl Fn(&mut Self, &Value) -> Option<Matcher>) -> Option<Box<[Matcher]>> {
        if values.is_empty() {
            return self.refuse("`anything-but` takes at least one value, found an empty list", None);
        }
        let compiled = values.iter().enumerate();
        Some(compiled.filter_map(|(i, value)| self.within(&i.to_string(), |this| one(this, value))).collect())
    }

    fn refuse<T>(&mut self, message: impl Into<String>, hint: Option<&str>) -> Option<T> {
        self.problem(message, hint);
        None
    }
}

/// A value that stands for itself.
fn exact(value: &Value) -> Option<Matcher> {
    match value {
        Value::String(text) => Some(Matcher::Text(text.as_str().into())),
        Value::Number(number) => Some(Matcher::Number(number.clone())),
        Value::Bool(flag) => Some(Matcher::Bool(*flag)),
        Value::Null => Some(Matcher::Null),
        Value::Array(_) | Value::Object(_) => None,
    }
}
