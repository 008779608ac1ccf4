//! The connection: what is sent, what is asked, and whether anybody is there.
//!
//! async-nats reconnects by itself and queues what is sent meanwhile; its writes that were under way are lost, and their
//! answers never come. So every question here has two limits: after [`Patience::resend`], or as soon as the connection
//! is back, it is sent again under the same slot (the first answer counts), and after [`Patience::total`] it is given
//! up. Only what may be done twice is asked this way.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use tidemill_core::port::BrokerError;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{ApiError, NatsError, unavailable};
use crate::mailbox::{Exchange, Held, Mailbox};
use crate::wire::Outbound;

/// How long an answer is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) resend: Duration,
    pub(crate) total: Duration,
}

impl Patience {
    /// For what is stored under an id: asking again is free.
    pub(crate) const PUBLISH: Self = Self { resend: Duration::from_secs(2), total: Duration::from_secs(10) };
    /// For the JetStream API, all of whose calls made here may be repeated.
    pub(crate) const API: Self = Self { resend: Duration::from_secs(2), total: Duration::from_secs(6) };
    /// For what must not be sent twice without looking first.
    pub(crate) const ONCE: Self = Self { resend: Duration::from_secs(5), total: Duration::from_secs(5) };

    /// Such a question is given up, not repeated, when the connection breaks.
    fn is_once(self) -> bool {
        self.resend >= self.total
    }
}

/// How long something that nobody answers may wait for room in async-nats' queue.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the connection stands, and how often it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkState {
    pub(crate) up: bool,
    pub(crate) epoch: u64,
}

/// One connection to NATS, shared by everything in this package.
pub(crate) struct Connection {
    client: Client,
    mailbox: Arc<Mailbox>,
    link: watch::Receiver<LinkState>,
    reader: JoinHandle<()>,
}

/// An answer of the JetStream API: what was asked for, or why not.
pub(crate) type ApiAnswer<T> = Result<T, ApiError>;

// === impl Connection ===

impl Connection {
    /// Subscribes the mailbox and starts its reader, the only task of this package.
    pub(crate) async fn new(client: Client, link: watch::Receiver<LinkState>) -> Result<Self, BrokerError> {
        let mailbox = Arc::new(Mailbox::new(client.new_inbox()));
        let subscribed = timeout(SEND_TIMEOUT, client.subscribe(mailbox.pattern())).await;
        let mut answers = subscribed
            .map_err(|_| unavailable("the connection does not take a subscription"))?
            .map_err(|error| unavailable(error.to_string()))?;
        let reader = tokio::spawn({
            let mailbox = Arc::clone(&mailbox);
            async move {
                while let Some(message) = answers.next().await {
                    mailbox.deliver(message);
                }
            }
        });
        Ok(Self { client, mailbox, link, reader })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn link(&self) -> watch::Receiver<LinkState> {
        self.link.clone()
    }

    /// Waits until the connection stands. Cancel-safe.
    pub(crate) async fn up(&self, deadline: Instant) -> bool {
        let mut link = self.link.clone();
        timeout_at(deadline, link.wait_for(|state| state.up)).await.is_ok_and(|state| state.is_ok())
    }

    /// The largest message the server takes, headers included.
    pub(crate) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    // --- nobody answers ---

    /// Sends something that is not answered. `Ok` says that it is on its way, not that it arrived.
    pub(crate) async fn send(&self, subject: &str, payload: Bytes) -> Result<(), BrokerError> {
        match timeout(SEND_TIMEOUT, self.client.publish(subject.to_owned(), payload)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(unavailable(format!("sending to `{subject}`: {error}"))),
            Err(_) => Err(unavailable("the server has been away for too long and the queue is full")),
        }
    }

    /// Sends something with headers that is not answered.
    pub(crate) async fn send_outbound(&self, outbound: Outbound) -> Result<(), BrokerError> {
        let Outbound { subject, headers, payload } = outbound;
        let headers = headers.map(|block| block.into_map()).unwrap_or_default();
        match timeout(SEND_TIMEOUT, self.client.publish_with_headers(subject, headers, payload)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(unavailable(error.to_string())),
            Err(_) => Err(unavailable("the server has been away for too long and the queue is full")),
        }
    }

    /// Sends something whose answers come to a subscription of the caller's.
    pub(crate) async fn send_with_reply(&self, subject: &str, reply: &str, payload: Bytes) -> Result<(), BrokerError> {
        let sending = self.client.publish_with_reply(subject.to_owned(), reply.to_owned(), payload);
        match timeout(SEND_TIMEOUT, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(unavailable(format!("sending to `{subject}`: {error}"))),
            Err(_) => Err(unavailable("the server has been away for too long and the queue is full")),
        }
    }

    // --- somebody answers ---

    /// Asks `count` questions, pipelined, and waits for all answers. `None` where no answer came in time. The questions
    /// may arrive more than once. Cancelling gives up the answers, not the questions.
    pub(crate) async fn exchange(
        &self,
        count: usize,
        question: impl Fn(usize) -> Outbound + Send + Sync,
        patience: Patience,
    ) -> Vec<Option<Message>> {
        let deadline = Instant::now() + patience.total;
        let exchange = Exchange::new(count);
        let mut held = self.mailbox.hold(count);
        let mut link = self.link.clone();
        let mut epoch = link.borrow().epoch;
        let asked = timeout_at(deadline, self.ask_all(&exchange, &mut held, &question, count)).await;
        if asked != Ok(true) {
            return exchange.take();
        }
        while !exchange.is_complete() {
            let resend_at = (Instant::now() + patience.resend).min(deadline);
            tokio::select! {
                () = exchange.completed() => break,
                () = tokio::time::sleep_until(resend_at) => {}
                _ = link.wait_for(|state| state.up && state.epoch != epoch) => {}
            }
            if patience.is_once() || Instant::now() >= deadline {
                break;
            }
            epoch = link.borrow().epoch;
            let again = timeout_at(deadline, self.ask_unanswered(&exchange, &held, &question)).await;
            if again != Ok(true) {
                break;
            }
        }
        exchange.take()
    }

    async fn ask_all(
        &self,
        exchange: &Arc<Exchange>,
        held: &mut Held<'_>,
        question: &(impl Fn(usize) -> Outbound + Send + Sync),
        count: usize,
    ) -> bool {
        for index in 0..count {
            let Some(number) = held.take(exchange, index).await else { return false };
            if !self.ask(self.mailbox.reply_subject(number), question(index)).await {
                return false;
            }
        }
        true
    }

    async fn ask_unanswered(
        &self,
        exchange: &Exchange,
        held: &Held<'_>,
        question: &(impl Fn(usize) -> Outbound + Send + Sync),
    ) -> bool {
        for (index, number) in held.numbers().iter().enumerate() {
            if !exchange.is_answered(index) && !self.ask(self.mailbox.reply_subject(*number), question(index)).await {
                return false;
            }
        }
        true
    }

    /// Nothing is put into async-nats' queue while the connection is down: it would only be sent late.
    async fn ask(&self, reply: String, outbound: Outbound) -> bool {
        let mut link = self.link.clone();
        if link.wait_for(|state| state.up).await.is_err() {
            return false;
        }
        let Outbound { subject, headers, payload } = outbound;
        let headers = headers.map_or_else(HeaderMap::new, |block| block.into_map());
        self.client.publish_with_reply_and_headers(subject, reply, headers, payload).await.is_ok()
    }

    /// Asks one question.
    pub(crate) async fn request(
        &self,
        what: &str,
        question: impl Fn() -> Outbound + Send + Sync,
        patience: Patience,
    ) -> Result<Message, NatsError> {
        let answers = self.exchange(1, |_| question(), patience).await;
        answers
            .into_iter()
            .next()
            .flatten()
            .ok_or_else(|| NatsError::Silent { what: what.to_owned(), seconds: patience.total.as_secs() })
    }

    /// Calls the JetStream API: `$JS.API.<call>` with a JSON body.
    pub(crate) async fn api<T: DeserializeOwned>(
        &self,
        call: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<ApiAnswer<T>, NatsError> {
        let unreadable =
            |error: serde_json::Error| NatsError::Unreadable { what: call.to_owned(), reason: error.to_string() };
        let subject = async_nats::Subject::from(format!("$JS.API.{call}"));
        let payload = Bytes::from(serde_json::to_vec(body).map_err(unreadable)?);
        let question = || Outbound { subject: subject.clone(), headers: None, payload: payload.clone() };
        let answer = self.request(call, question, Patience::API).await?;
        if answer.status == Some(async_nats::StatusCode::NO_RESPONDERS) {
            return Err(NatsError::NoResponders { subject: subject.to_string() });
        }
        let json: serde_json::Value = serde_json::from_slice(&answer.payload).map_err(unreadable)?;
        if let Some(error) = json.get("error") {
            return Ok(Err(ApiError::deserialize(error).map_err(unreadable)?));
        }
        serde_json::from_value(json).map(Ok).map_err(unreadable)
    }

    /// [`Connection::api`] where an error of the API is an error.
    pub(crate) async fn api_ok<T: DeserializeOwned>(
        &self,
        call: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, NatsError> {
        self.api(call, body).await?.map_err(|error| NatsError::Api { what: call.to_owned(), error })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The reader holds a handle of the client; without this the connection would stay open for ever.
        self.reader.abort();
    }
}
