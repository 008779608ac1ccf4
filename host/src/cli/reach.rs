//! Getting hold of the broker for a command that is over soon.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use tidemill_core::config::{BrokerConfig, RuntimeConfig};
use tidemill_core::port::{Admin, Broker};
use tidemill_embedded::EmbeddedBroker;

use crate::control::Remote;
use crate::exit::{Coded, Kind};
use crate::{app, exit};

/// The broker of the configuration: NATS itself, the running host that holds the embedded log, or the log.
pub(super) struct Reached {
    pub(super) admin: Arc<dyn Admin>,
    /// Set when this process holds the broker itself and has to close it.
    own: Option<Arc<dyn Broker>>,
}

// === impl Reached ===

impl Reached {
    /// To look only: nothing is created, neither streams nor a log that is not there.
    pub(super) async fn look(config: &RuntimeConfig) -> Result<Self> {
        if let BrokerConfig::Embedded { dir } = &config.broker {
            if let Some(remote) = Remote::connect(dir).await {
                return Ok(Self { admin: Arc::new(remote), own: None });
            }
            if !EmbeddedBroker::exists(dir) {
                let text = format!(
                    "there is no embedded log in `{}` yet, so no event can be read from it; `tidemill run` makes one",
                    dir.display()
                );
                return Err(anyhow!(text)).coded(Kind::Unavailable);
            }
        }
        let broker = app::connect(config).await?;
        Ok(Self { admin: Arc::clone(&broker) as Arc<dyn Admin>, own: Some(broker) })
    }

    pub(super) async fn reach(config: &RuntimeConfig) -> Result<Self> {
        if let BrokerConfig::Embedded { dir } = &config.broker
            && let Some(remote) = Remote::connect(dir).await
        {
            return Ok(Self { admin: Arc::new(remote), own: None });
        }
        let broker = app::connect(config).await?;
        broker.provision(&config.streams).await.map_err(exit::broker)?;
        Ok(Self { admin: Arc::clone(&broker) as Arc<dyn Admin>, own: Some(broker) })
    }

    /// To be called at the end, so that nothing is left in a buffer.
    pub(super) async fn close(self) -> Result<()> {
        match self.own {
            Some(broker) => broker.close().await.map_err(exit::broker),
            None => Ok(()),
        }
    }
}
