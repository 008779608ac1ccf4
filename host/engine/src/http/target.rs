//! Where a request really goes, read strictly: what two readers could read in two ways is refused.

use std::net::Ipv6Addr;

use http::uri::{Authority, Scheme as UriScheme};
use http::{Method, Request};
use tidemill_core::outbound::{Scheme, Target};

use super::refused::Refused;

/// The target of a request.
pub(super) fn of<B>(request: &Request<B>) -> Result<Target, Refused> {
    if request.method() == Method::CONNECT {
        return Err(Refused::Tunnel);
    }
    let uri = request.uri();
    let refuse = || Refused::Authority(uri.authority().map_or("", Authority::as_str).chars().take(300).collect());
    // The hooks let no third scheme through.
    let scheme = if uri.scheme() == Some(&UriScheme::HTTP) { Scheme::Http } else { Scheme::Https };
    let (host, port) = uri.authority().and_then(|authority| split(authority.as_str())).ok_or_else(refuse)?;
    Ok(Target::new(scheme, host, port))
}

/// The authority as it is written in the `Host` header.
pub(super) fn host_header(target: &Target) -> String {
    let url = target.to_string();
    url.split_once("://").map_or(url.clone(), |(_, authority)| authority.to_owned())
}

fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (address, rest) = inner.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (address, rest)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, rest) = authority.split_at(end);
            host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')).then_some(())?;
            (host, rest)
        }
    };
    if host.is_empty() {
        return None;
    }
    match rest.strip_prefix(':') {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().ok().filter(|port| *port != 0).map(|port| (host, Some(port)))
        }
        Some(_) => None,
        None => rest.is_empty().then_some((host, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Option<(String, String)> {
        let request = Request::builder().uri(url).body(()).unwrap();
        of(&request).ok().map(|target| (target.to_string(), host_header(&target)))
    }

    #[test]
    fn what_is_connected_to_is_what_is_sent_as_host() {
        for (url, target, host) in [
            ("http://API.example.com.:80/x", "http://api.example.com", "api.example.com"),
            ("https://api.example.com/x", "https://api.example.com", "api.example.com"),
            ("http://[::1]:8080/", "http://[::1]:8080", "[::1]:8080"),
            ("http://127.0.0.1:81/", "http://127.0.0.1:81", "127.0.0.1:81"),
        ] {
            assert_eq!(read(url), Some((target.to_owned(), host.to_owned())), "{url}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for url in [
            "http://api.example.com@evil.example/",
            "http://user:pass@api.example.com/",
            "http://api.example.com:99999/",
            "http://api.example.com:0/",
            "http://api%2eexample.com/",
            "http://[v1.x]/",
        ] {
            if let Ok(request) = Request::builder().uri(url).body(()) {
                assert!(matches!(of(&request), Err(Refused::Authority(_))), "{url}");
            }
        }
    }

    #[test]
    fn a_tunnel_is_refused() {
        let request = Request::builder().method("CONNECT").uri("http://api.example.com/").body(()).unwrap();
        assert!(matches!(of(&request), Err(Refused::Tunnel)));
    }
}
