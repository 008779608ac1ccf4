//! `read_models.postgres.url`, and in particular its `sslmode`.
//!
//! The client library knows `disable`, `prefer` and `require`. libpq, and so every other program with such an address, also
//! knows `verify-full`; that one and the certificates it needs are taken out here and handled by [`tls`](crate::tls).

use std::str::FromStr as _;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tidemill_core::read_model::StoreError;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

/// An address and what is to be believed of whoever answers there.
pub(crate) struct Address {
    pub(crate) config: Config,
    pub(crate) trust: Trust,
}

/// Whose certificate is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// `disable`, `prefer`, `require`: anybody's, as with libpq. Nobody can listen, but who answers is not known.
    Anybody,
    /// `verify-full`: one for the host's name, by an authority of this file, or of the system's.
    Authority(Option<String>),
}

/// How long a connection that says nothing is trusted, before it is asked whether it lives.
const IDLE: Duration = Duration::from_secs(5);

// === impl Address ===

impl Address {
    /// Connections and what is sent over them wait at most `patience`.
    pub(crate) fn parse(url: &str, patience: Duration) -> Result<Self, StoreError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut kept, mut verify, mut authority) = (Vec::new(), false, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", "verify-full")) => verify = true,
                Some(("sslmode", "verify-ca")) => {
                    return Err(refused(
                        "`sslmode=verify-ca` is not supported; use `verify-full`, which also checks the name",
                    ));
                }
                Some(("sslrootcert", path)) => {
                    authority = Some(percent_decode_str(path).decode_utf8_lossy().into_owned())
                }
                _ => kept.push(pair),
            }
        }
        if authority.is_some() && !verify {
            return Err(refused("`sslrootcert` is only looked at with `sslmode=verify-full`; set both or neither"));
        }
        // The library's error may quote the address, and so the password.
        let url = format!("{base}?{}", kept.join("&"));
        let mut config = Config::from_str(&url).map_err(|_| {
            refused("expected an address like `postgresql://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full`")
        })?;
        if verify {
            config.ssl_mode(SslMode::Require);
        }
        config
            .application_name("tidemill")
            .connect_timeout(patience)
            .tcp_user_timeout(patience)
            .keepalives_idle(IDLE)
            .keepalives_interval(IDLE)
            .keepalives_retries(3);
        Ok(Self { config, trust: if verify { Trust::Authority(authority) } else { Trust::Anybody } })
    }
}

fn refused(what: &str) -> StoreError {
    StoreError::Refused(format!("`read_models.postgres.url`: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, StoreError> {
        Address::parse(url, Duration::from_secs(1))
    }

    #[test]
    fn an_address_says_how_much_is_verified() {
        let of = |url: &str| parse(url).map(|it| (it.config.get_ssl_mode(), it.trust)).unwrap();
        let base = "postgresql://u:p@db.example:5433/orders";
        assert_eq!(of(base), (SslMode::Prefer, Trust::Anybody));
        assert_eq!(of(&format!("{base}?sslmode=require")), (SslMode::Require, Trust::Anybody));
        assert_eq!(of(&format!("{base}?sslmode=verify-full")), (SslMode::Require, Trust::Authority(None)));
        let with_file = format!("{base}?sslrootcert=/etc/my%20ca.pem&sslmode=verify-full&application_name=x");
        assert_eq!(of(&with_file), (SslMode::Require, Trust::Authority(Some("/etc/my ca.pem".to_owned()))));
    }

    #[test]
    fn what_would_be_checked_less_than_it_says_is_refused_without_the_password() {
        for url in [
            "postgresql://u:hunter2@h/d?sslmode=verify-ca",
            "postgresql://u:hunter2@h/d?sslrootcert=ca.pem",
            "postgresql://u:hunter2@h/d?sslmode=some",
            "postgresql://u:hunter2@h:port/d",
        ] {
            let Err(StoreError::Refused(reason)) = parse(url) else { panic!("{url}") };
            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }
}
