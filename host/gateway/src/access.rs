//! Who may do what: tokens, client certificates, host names.
//!
//! Only digests of tokens are kept, and compared in a time that tells nothing about them.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Uri, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tidemill_core::config::{HttpConfig, Scope};

use crate::endpoint::Need;
use crate::problem::{Problem, ProblemKind};
use crate::service::Client;

/// The rules, ready to be asked.
pub(crate) struct Access {
    tokens: Vec<([u8; 32], Vec<Scope>)>,
    /// What a client with a certificate may do; `None` if none is asked for.
    certified: Option<Vec<Scope>>,
    hosts: Vec<String>,
}

// === impl Access ===

impl Access {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        let digest = |text: &str| Sha256::digest(text.as_bytes()).into();
        let tokens = config.tokens.iter().map(|one| (digest(one.token.reveal()), one.scopes.clone())).collect();
        let with_ca = config.tls.as_ref().filter(|tls| tls.client_ca_file.is_some());
        Self { tokens, certified: with_ca.map(|tls| tls.client_scopes.clone()), hosts: config.hosts.clone() }
    }

    /// Lets the client do what it needs, or says what is missing.
    pub(crate) fn check(&self, need: Need, client: Client, headers: &HeaderMap) -> Result<(), Problem> {
        let open = self.tokens.is_empty() && self.certified.is_none();
        if open || need == Need::Nothing {
            return Ok(());
        }
        let by_token = match bearer(headers)? {
            None => None,
            Some(token) => Some(self.scopes_of(token).ok_or_else(|| unauthorized("the token is not known"))?),
        };
        let by_certificate = self.certified.as_ref().filter(|_| client.certified);
        if by_token.is_none() && by_certificate.is_none() {
            return Err(unauthorized("expected `Authorization: Bearer TOKEN` with a token of `http.tokens`"));
        }
        let may = |wanted: Scope| {
            let scopes = by_token.into_iter().flatten().chain(by_certificate.into_iter().flatten());
            scopes.into_iter().any(|scope| *scope == wanted)
        };
        match need {
            Need::Scope(wanted) if !may(wanted) => Err(forbidden(wanted, by_token.is_some())),
            _ => Ok(()),
        }
    }

    fn scopes_of(&self, token: &str) -> Option<&Vec<Scope>> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let mut found = None;
        // All are looked at, whichever fits.
        for (known, scopes) in &self.tokens {
            if bool::from(known.ct_eq(&digest)) {
                found = Some(scopes);
            }
        }
        found
    }

    /// Whether the request is made to a name of this gateway. A web page can make a browser connect to any address under a name
    /// of its own (DNS rebinding), but not hide that name; an address as the host can only be the one that was connected to.
    pub(crate) fn check_host(&self, client: Client, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let mut given = headers.get_all(header::HOST).iter();
        let (Some(first), None) = (given.next(), given.next()) else {
            return Err(Problem::new(ProblemKind::BadRequest, "expected one header `Host`"));
        };
        let host =
            host_of(first).ok_or_else(|| Problem::new(ProblemKind::BadRequest, "the header `Host` is no host"))?;
        // A proxy's form of a request names the host once more; that one counts.
        let host = uri.host().map_or(host, |host| host.trim_matches(['[', ']']).to_ascii_lowercase());
        if self.serves(&host, client) {
            return Ok(());
        }
        let detail = format!("`{host}` is not served here; `http.hosts: [{host}]` in runtime.yaml would allow it");
        Err(Problem::new(ProblemKind::WrongHost, detail))
    }

    /// Refuses what a browser sends for a page of another site: without a token nothing else would tell it apart.
    pub(crate) fn check_origin(&self, client: Client, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let host = origin
            .to_str()
            .ok()
            .and_then(|text| text.parse::<Uri>().ok())
            .and_then(|uri| uri.host().map(|host| host.trim_matches(['[', ']']).to_ascii_lowercase()));
        if host.is_some_and(|host| self.serves(&host, client)) {
            return Ok(());
        }
        let detail = "the header `Origin` names another site; the gateway is not for web pages of others";
        Err(Problem::new(ProblemKind::CrossOrigin, detail))
    }

    fn serves(&self, host: &str, client: Client) -> bool {
        let is_address = host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical() == client.local);
        let is_localhost = host == "localhost" && client.local.is_loopback();
        is_address || is_localhost || self.hosts.iter().any(|known| known == host)
    }
}

/// The host of a `Host` header without its port, in lower case, an IPv6 address without brackets.
fn host_of(value: &HeaderValue) -> Option<String> {
    let authority: http::uri::Authority = value.to_str().ok()?.parse().ok()?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return None;
    }
    Some(authority.host().trim_matches(['[', ']']).to_ascii_lowercase())
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(unauthorized("expected `Authorization: Bearer TOKEN`, found another scheme")),
    }
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(ProblemKind::Unauthorized, detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tidemill\""))
}

fn forbidden(wanted: Scope, by_token: bool) -> Problem {
    let scope = match wanted {
        Scope::Read => "read",
        Scope::Ingest => "ingest",
        Scope::Admin => "admin",
    };
    let line = if by_token { "http.tokens[].scopes" } else { "http.tls.client_scopes" };
    let detail = format!("this needs the scope `{scope}`; `{line}: [{scope}]` in runtime.yaml would grant it");
    Problem::new(ProblemKind::Forbidden, detail)
}
