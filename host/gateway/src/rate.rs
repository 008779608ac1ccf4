//! Requests a second of each client address.
//!
//! A bucket per address holds one second's worth. The table is bounded: buckets that are full again are forgotten, since a new
//! one would be the same; when all are in use, addresses without one share the last.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Addresses with a bucket of their own. A megabyte.
const MAX_ADDRESSES: usize = 10_000;

/// Full buckets are looked for so often at most.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Who shares a bucket when there is no room for more.
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

pub(crate) struct Rate {
    per_second: f64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    buckets: HashMap<IpAddr, Bucket>,
    /// When full buckets were looked for last: that takes a while, and so does filling one.
    swept: Option<Instant>,
}

struct Bucket {
    left: f64,
    filled: Instant,
}

// === impl Rate ===

impl Rate {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second), table: Mutex::default() }
    }

    /// Whether one more request is allowed; it is counted then.
    pub(crate) fn allows(&self, address: IpAddr, now: Instant) -> bool {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let client = table.place(client(address), self.per_second, now);
        let bucket = table.buckets.entry(client).or_insert(Bucket { left: self.per_second, filled: now });
        *bucket = Bucket { left: bucket.level(self.per_second, now), filled: now };
        let allowed = bucket.left >= 1.0;
        if allowed {
            bucket.left -= 1.0;
        }
        allowed
    }
}

// === impl Table ===

impl Table {
    /// The client itself, if it has a bucket or there is room for one.
    fn place(&mut self, client: IpAddr, per_second: f64, now: Instant) -> IpAddr {
        if self.buckets.len() < MAX_ADDRESSES || self.buckets.contains_key(&client) {
            return client;
        }
        if self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_EVERY) {
            self.swept = Some(now);
            self.buckets.retain(|_, bucket| bucket.level(per_second, now) < per_second);
        }
        if self.buckets.len() < MAX_ADDRESSES { client } else { OTHERS }
    }
}

// === impl Bucket ===

impl Bucket {
    fn level(&self, per_second: f64, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        (self.left + since * per_second).min(per_second)
    }
}

/// Whoever has one IPv6 address has the 64 bits below it too.
fn client(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 1).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn v4(number: u32) -> IpAddr {
        Ipv4Addr::from(number).into()
    }

    #[test]
    fn a_second_s_worth_at_once_and_then_as_time_allows() {
        let rate = Rate::new(10);
        let begun = Instant::now();
        let allowed =
            |address, at: u64| (0..20).filter(|_| rate.allows(address, begun + Duration::from_millis(at))).count();
        assert_eq!(allowed(v4(1), 0), 10);
        assert_eq!(allowed(v4(2), 0), 10);
        assert_eq!(allowed(v4(1), 0), 0);
        assert_eq!(allowed(v4(1), 510), 5);
        assert_eq!(allowed(v4(1), 60_000), 10);
    }

    #[test]
    fn neighbours_of_an_ipv6_network_are_one_client() {
        let rate = Rate::new(1);
        let now = Instant::now();
        assert!(rate.allows("2001:db8::1".parse().unwrap(), now));
        assert!(!rate.allows("2001:db8::2".parse().unwrap(), now));
        assert!(rate.allows("2001:db8:0:1::1".parse().unwrap(), now));
    }

    #[test]
    fn any_number_of_addresses_fits() {
        let rate = Rate::new(1);
        let begun = Instant::now();
        let allowed = (0..50_000).filter(|number| rate.allows(v4(*number), begun)).count();
        // Each of its own, and one for all others.
        assert_eq!(allowed, MAX_ADDRESSES + 1);
        assert!(rate.table.lock().unwrap().buckets.len() <= MAX_ADDRESSES + 1);
        // Who waited is forgotten, and makes room.
        assert!(rate.allows(v4(1_000_000), begun + Duration::from_secs(2)));
        assert_eq!(rate.table.lock().unwrap().buckets.len(), 1);
    }
}
