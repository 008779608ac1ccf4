//! A gateway that runs, around a host of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use tidemill_gateway::Gateway;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::{Answer, Ask};
use crate::host::{HTTP, Host, configured};

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) host: Arc<Host>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) served: JoinHandle<()>,
}

impl Running {
    /// A gateway with the usual settings and these lines more, indented as they stand below `http`.
    pub(crate) async fn with(lines: &str) -> Self {
        Self::configured_as(&format!("{HTTP}{lines}")).await
    }

    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    pub(crate) async fn configured_as(http: &str) -> Self {
        let config = configured(http);
        let host = Host::new(&config).await;
        let gateway = Gateway::bind(config.http.unwrap()).await.unwrap();
        let address = gateway.address();
        let (stop, stopped) = watch::channel(false);
        let served = tokio::spawn(gateway.serve(host.clone(), stopped));
        Self { address, host, stop, served }
    }

    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        ask.to(self.address).await
    }
}
