//! Where a plugin may send HTTP requests: first the name that it asks for, then each address that the name resolves to.
//!
//! The name alone is not enough: whoever controls a name's DNS would control where the host connects to, its own loopback
//! and the cloud's metadata service included. An address that is not public is refused unless `runtime.yaml` names the
//! address itself. The resolved and checked address is the one that must be connected to; asking DNS twice would let it
//! answer differently the second time.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// One entry of `allowed_outbound_hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundHost {
    scheme: Scheme,
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Name(String),
    /// Every name below this domain, not the domain itself.
    Below(String),
    Network(IpNet),
}

/// Where a request goes: lower-case name or address without brackets, and the port that is meant when none is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub scheme: Scheme,
    pub host: String,
    pub port: u16,
}

/// Why an entry is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an outbound host: {why}; write `https://HOST`, `http://HOST:PORT` or `https://*.DOMAIN`")]
pub struct OutboundHostError {
    text: String,
    why: &'static str,
}

/// Why a request may not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundDenial {
    #[error(
        "requests to `{0}` are not granted; `plugins.settings.<plugin>.allowed_outbound_hosts: [\"{0}\"]` in runtime.yaml would allow it"
    )]
    NotGranted(Target),
    #[error(
        "`{name}` resolves to {address}, which is not a public address; `plugins.settings.<plugin>.allowed_outbound_hosts: [\"{literal}\"]` in runtime.yaml would allow it"
    )]
    NotPublic { name: Target, address: IpAddr, literal: Target },
}

// === impl Scheme ===

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

// === impl Target ===

impl Target {
    /// `host` may be written in any case, with a dot at the end, or as an address in brackets.
    pub fn new(scheme: Scheme, host: &str, port: Option<u16>) -> Self {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        Self { scheme, host, port: port.unwrap_or(scheme.default_port()) }
    }

    fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok().map(canonical)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        write!(f, "{}://", scheme.as_str())?;
        if host.contains(':') {
            write!(f, "[{host}]")?
        } else {
            f.write_str(host)?
        }
        if *port == scheme.default_port() { Ok(()) } else { write!(f, ":{port}") }
    }
}

// === impl OutboundHost ===

impl OutboundHost {
    pub fn try_new(text: &str) -> Result<Self, OutboundHostError> {
        let refuse = |why| OutboundHostError { text: text.to_owned(), why };
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (Scheme::Https, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (Scheme::Http, rest)
        } else {
            return Err(refuse("it does not begin with `http://` or `https://`"));
        };
        let (host, port) = split_port(rest).ok_or_else(|| refuse("its port is no number from 1 to 65535"))?;
        let host = Host::parse(host).map_err(refuse)?;
        Ok(Self { scheme, host, port: port.unwrap_or(scheme.default_port()) })
    }

    fn admits(&self, target: &Target) -> bool {
        self.scheme == target.scheme && self.port == target.port && self.host.admits(&target.host, target.address())
    }

    fn names(&self, target: &Target, address: IpAddr) -> bool {
        let network = matches!(&self.host, Host::Network(network) if network.contains(&canonical(address)));
        network && self.scheme == target.scheme && self.port == target.port
    }
}

impl fmt::Display for OutboundHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        write!(f, "{}://{host}", scheme.as_str())?;
        if *port == scheme.default_port() { Ok(()) } else { write!(f, ":{port}") }
    }
}

/// The host's text and its port. An address of IPv6 stands in brackets where a port may follow.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let tail = text.rfind(']').map_or(0, |end| end + 1);
    match text[tail..].rfind(':') {
        None => Some((text, None)),
        Some(colon) => {
            let port: u16 = text[tail + colon + 1..].parse().ok().filter(|port| *port != 0)?;
            Some((&text[..tail + colon], Some(port)))
        }
    }
}

// === impl Host ===

impl Host {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let bare = text.replace(['[', ']'], "");
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Network(canonical(address).into()));
        }
        if let Ok(network) = bare.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if let Some(domain) = text.strip_prefix("*.") {
            return check_name(domain).map(|()| Self::Below(domain.to_owned()));
        }
        check_name(&text).map(|()| Self::Name(text))
    }

    fn admits(&self, host: &str, address: Option<IpAddr>) -> bool {
        match self {
            Host::Name(name) => host == name,
            Host::Below(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            Host::Network(network) => address.is_some_and(|address| network.contains(&address)),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Below(domain) => write!(f, "*.{domain}"),
            Host::Network(network) => {
                let text = if network.prefix_len() == network.max_prefix_len() {
                    network.addr().to_string()
                } else {
                    network.to_string()
                };
                if text.contains(':') { write!(f, "[{text}]") } else { f.write_str(&text) }
            }
        }
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
    if name.contains(['/', '?', '#', '@']) {
        Err("it has more than a scheme, a host and a port")
    } else if name.is_empty() || name.len() > 253 || !name.split('.').all(label) {
        Err("its host is no name of letters, digits and `-`")
    } else if name.split('.').next_back().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        // `127.1` and `2130706433` are addresses to some resolvers.
        Err("its host looks like a shortened address; write all four numbers")
    } else {
        Ok(())
    }
}

// --- the two checks ----------------------------------------------------------------------------------------------------

/// Before the name is resolved: whether the plugin may ask for it at all.
pub fn check_target(allowed: &[OutboundHost], target: &Target) -> Result<(), OutboundDenial> {
    if allowed.iter().any(|entry| entry.admits(target)) {
        Ok(())
    } else {
        Err(OutboundDenial::NotGranted(target.clone()))
    }
}

/// Before an address is connected to: it is public, or it is named itself.
pub fn check_address(allowed: &[OutboundHost], target: &Target, address: IpAddr) -> Result<(), OutboundDenial> {
    let address = canonical(address);
    if is_public(address) || allowed.iter().any(|entry| entry.names(target, address)) {
        return Ok(());
    }
    let literal = Target { host: address.to_string(), ..target.clone() };
    Err(OutboundDenial::NotPublic { name: target.clone(), address, literal })
}

/// IPv6 forms of an IPv4 address are that address: `::ffff:127.0.0.1`, NAT64 and 6to4.
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let embedded = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => embedded(g, h),
        [0x2002, high, low, ..] => embedded(high, low),
        // `::1` and `::` are IPv6's own; the rest of `::/96` is an old form of IPv4.
        [0, 0, 0, 0, 0, 0] if g != 0 || h > 1 => embedded(g, h),
        _ => address,
    }
}

/// Conservative on purpose: what is not known to be public is not. IANA's special-purpose address registries.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 240..=255, ..)
            | (100, 64..=127, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !(special || address.is_link_local() || address.is_multicast())
}

/// Only `2000::/3` is handed out for the public, and not all of it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let global = (0x2000..=0x3fff).contains(&a);
    let special = a == 0x2001 && (b < 0x200 || b == 0x0db8) || a == 0x3fff;
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(entries: &[&str]) -> Vec<OutboundHost> {
        entries.iter().map(|entry| OutboundHost::try_new(entry).unwrap()).collect()
    }

    fn target(url: &str) -> Target {
        let (scheme, rest) = url.split_once("://").unwrap();
        let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
        let (host, port) = split_port(rest).unwrap();
        Target::new(scheme, host, port)
    }

    #[test]
    fn a_name_is_granted_with_its_scheme_and_port() {
        let list = allowed(&["https://api.example.com", "http://internal:8080", "https://*.shop.example"]);
        for url in
            ["https://api.example.com", "https://API.example.com.", "http://internal:8080", "https://a.b.shop.example"]
        {
            assert_eq!(check_target(&list, &target(url)), Ok(()), "{url}");
        }
        for url in [
            "http://api.example.com",
            "https://api.example.com:8443",
            "https://evil-api.example.com",
            "https://shop.example",
            "https://evilshop.example",
            "http://internal",
        ] {
            assert!(check_target(&list, &target(url)).is_err(), "{url}");
        }
        assert_eq!(
            check_target(&list, &target("http://other:81")).unwrap_err().to_string(),
            "requests to `http://other:81` are not granted; \
             `plugins.settings.<plugin>.allowed_outbound_hosts: [\"http://other:81\"]` in runtime.yaml would allow it"
        );
    }

    #[test]
    fn an_address_that_is_not_public_must_be_named_itself() {
        let list = allowed(&["http://rebind.example", "http://10.1.0.0/16", "http://[::1]"]);
        let name = target("http://rebind.example");
        for address in [
            "127.0.0.1",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "fd00:ec2::254",
            "fe80::1",
            "10.2.0.1",
            "192.168.0.1",
            "172.16.0.1",
            "100.64.0.1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "::7f00:1",
            "2001:db8::1",
            "ff02::1",
            "192.0.2.1",
            "198.18.0.1",
        ] {
            let denial = check_address(&list, &name, address.parse().unwrap());
            assert!(matches!(denial, Err(OutboundDenial::NotPublic { .. })), "{address}");
        }
        for address in ["93.184.216.34", "2606:2800:220:1::1", "10.1.2.3", "::ffff:10.1.2.3", "::1"] {
            assert_eq!(check_address(&list, &name, address.parse().unwrap()), Ok(()), "{address}");
        }
        // Named for port 80 only.
        let other_port = target("http://rebind.example:8080");
        assert!(check_address(&list, &other_port, "10.1.2.3".parse().unwrap()).is_err());
    }

    #[test]
    fn a_denied_address_names_the_line_that_would_allow_it() {
        let list = allowed(&["http://inside.example:8080"]);
        let denial = check_address(&list, &target("http://inside.example:8080"), "10.0.0.7".parse().unwrap());
        let text = denial.unwrap_err().to_string();
        assert!(text.contains("`http://inside.example:8080` resolves to 10.0.0.7"), "{text}");
        assert!(text.contains("allowed_outbound_hosts: [\"http://10.0.0.7:8080\"]"), "{text}");
    }

    #[test]
    fn an_address_literal_is_granted_like_a_name() {
        let list = allowed(&["http://127.0.0.1:9000"]);
        for url in ["http://127.0.0.1:9000", "http://[::ffff:127.0.0.1]:9000"] {
            assert_eq!(check_target(&list, &target(url)), Ok(()), "{url}");
        }
        for url in ["http://0x7f.1:9000", "http://localhost:9000", "http://127.0.0.2:9000"] {
            assert!(check_target(&list, &target(url)).is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_no_entry_is_told_why() {
        for text in [
            "api.example.com",
            "ftp://x",
            "https://",
            "https://*",
            "https://a/path",
            "https://user@host",
            "http://h:0",
            "http://h:99999",
            "http://127.1",
            "http://2130706433",
            "https://a..b",
        ] {
            assert!(OutboundHost::try_new(text).is_err(), "{text}");
        }
        for text in ["https://api.example.com", "http://10.1.0.0/16:8080", "http://[::1]:8080", "https://*.a.example"] {
            assert_eq!(OutboundHost::try_new(text).unwrap().to_string(), text);
        }
    }
}
