//! The query `revenue`: what orders brought in, by day and currency. Cancelled orders brought nothing.
//!
//! ```json
//! { "from": "2026-01-05", "to": "2026-01-06" }
//! [{ "day": "2026-01-05", "currency": "EUR", "orders": 12, "revenue": 830.5 }, …]
//! ```
//!
//! Days are as the orders' times have them, and both ends count; without `to` it is one day. The query API finds the orders of a
//! day, but it does not add anything up.

use std::collections::BTreeMap;
use std::fmt;

use tidemill_sdk::prelude::*;

use crate::money::Money;
use crate::{ORDERS, Order, Status};

/// A quarter of a year. Whoever wants more asks again.
const MAX_DAYS: usize = 92;

#[derive(Deserialize)]
pub(crate) struct Params {
    from: String,
    to: Option<String>,
}

#[derive(Default, Serialize)]
struct Sum {
    orders: u32,
    revenue: Money,
}

pub(crate) fn answer(Params { from, to }: Params) -> Answer {
    let first = Day::parse(&from)?;
    let last = to.map_or(Ok(first), |to| Day::parse(&to))?;
    let days: Vec<Day> = first.and_later().take_while(|day| *day <= last).take(MAX_DAYS + 1).collect();
    if days.len() > MAX_DAYS {
        return Err(reject(format!("from {first} to {last} are more than {MAX_DAYS} days")));
    }
    let mut rows = Vec::new();
    for day in days {
        for (currency, Sum { orders, revenue }) in sums(&day.to_string())? {
            rows.push(json!({ "day": day.to_string(), "currency": currency, "orders": orders, "revenue": revenue }));
        }
    }
    Ok(Value::Array(rows))
}

fn sums(day: &str) -> Result<BTreeMap<String, Sum>, Failure> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for order in read_model::find::<Order>(ORDERS, "created_day", day) {
        let order = order?.body;
        if let (Some(currency), Some(total), false) = (order.currency, order.total, order.status == Status::Cancelled) {
            let sum = sums.entry(currency).or_default();
            sum.orders += 1;
            sum.revenue += total;
        }
    }
    Ok(sums)
}

/// A date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Day {
    year: u32,
    month: u32,
    day: u32,
}

// === impl Day ===

impl Day {
    fn parse(text: &str) -> Result<Self, Failure> {
        let mut numbers = text.split('-').map(|part| part.parse::<u32>().ok());
        let parsed = match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Some(year)), Some(Some(month)), Some(Some(day)), None) => Some(Self { year, month, day }),
            _ => None,
        };
        let is_one = |day: &Self| {
            (1..=9999).contains(&day.year)
                && (1..=12).contains(&day.month)
                && (1..=day.days_of_month()).contains(&day.day)
                && day.to_string() == text
        };
        parsed.filter(is_one).or_reject(format!("`{text}` is no day: expected one like `2026-01-05`"))
    }

    /// This day and all after it.
    fn and_later(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |day| Some(day.next()))
    }

    fn next(self) -> Self {
        let Self { year, month, day } = self;
        if day < self.days_of_month() {
            Self { day: day + 1, ..self }
        } else if month < 12 {
            Self { month: month + 1, day: 1, year }
        } else {
            Self { year: year + 1, month: 1, day: 1 }
        }
    }

    fn days_of_month(self) -> u32 {
        let is_leap = (self.year.is_multiple_of(4) && !self.year.is_multiple_of(100)) || self.year.is_multiple_of(400);
        match self.month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day } = self;
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_follow_each_other_over_the_ends_of_months_and_years() {
        for (day, next) in [
            ("2026-01-31", "2026-02-01"),
            ("2026-02-28", "2026-03-01"),
            ("2028-02-28", "2028-02-29"),
            ("2100-02-28", "2100-03-01"),
            ("2000-02-29", "2000-03-01"),
            ("2026-12-31", "2027-01-01"),
        ] {
            assert_eq!(Day::parse(day).unwrap().next().to_string(), next);
        }
    }

    #[test]
    fn what_is_no_day_is_rejected() {
        for text in
            ["", "2026", "2026-1-5", "2026-13-01", "2026-02-29", "2026-01-00", "2026-01-05-1", "0000-01-01", "a-b-c"]
        {
            assert!(Day::parse(text).is_err(), "{text}");
        }
    }
}
