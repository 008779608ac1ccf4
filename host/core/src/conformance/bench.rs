//! What the cases share: names of their own, short ways to publish, and patient ways to look.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::config::{RouteConfig, Start, StreamConfig};
use crate::envelope::Envelope;
use crate::message::{Headers, Message};
use crate::name::{PluginName, RouteName, StreamName};
use crate::port::{
    Backlog, Broker, Commit, DeadLetterQuery, Delivery, Outgoing, Published, ReadFrom, Source, StoredDeadLetter,
};
use crate::retry::RetryPolicy;
use crate::subject::{Subject, SubjectPattern};

/// How long a promise of "soon" is awaited. Far above what a broker needs, so that a loaded machine fails nothing.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// How long is looked before "nothing comes" is believed.
pub(super) const QUIET: Duration = Duration::from_millis(1500);

/// A broker and a tag that makes this case's names its own.
#[derive(Clone)]
pub(super) struct Bench {
    pub(super) broker: Arc<dyn Broker>,
    tag: String,
}

impl Bench {
    pub(super) fn new(broker: Arc<dyn Broker>) -> Self {
        Self { broker, tag: format!("c{}", Uuid::now_v7().simple()) }
    }

    /// The same names on another broker.
    pub(super) fn on(&self, broker: Arc<dyn Broker>) -> Self {
        Self { broker, tag: self.tag.clone() }
    }

    /// A subject that no other case uses.
    pub(super) fn subject(&self, rest: &str) -> Subject {
        Subject::try_new(&format!("{}.{rest}", self.tag)).unwrap()
    }

    pub(super) fn pattern(&self, rest: &str) -> SubjectPattern {
        SubjectPattern::try_new(&format!("{}.{rest}", self.tag)).unwrap()
    }

    pub(super) fn space(&self, name: &str) -> PluginName {
        PluginName::try_new(&format!("{}-{name}", self.tag)).unwrap()
    }

    /// The settings of a stream that captures `<name>.>`.
    pub(super) fn stream(&self, name: &str) -> StreamConfig {
        StreamConfig {
            name: StreamName::try_new(&format!("{}_{name}", self.tag)).unwrap(),
            subjects: vec![self.pattern(&format!("{name}.>"))],
            envelope: Envelope::default(),
            max_age: None,
            max_bytes: None,
            duplicate_window: Duration::from_secs(120),
            replicas: 1,
        }
    }

    /// The settings of a route that reads the whole stream from its beginning.
    pub(super) fn route(&self, name: &str, stream: &StreamConfig) -> RouteConfig {
        RouteConfig {
            name: RouteName::try_new(&format!("{}-{name}", self.tag)).unwrap(),
            stream: stream.name.clone(),
            subjects: stream.subjects.clone(),
            start: Start::All,
            filter: None,
            handler: self.space("handler"),
            emits: vec![self.pattern(">")],
            envelope: Envelope::default(),
            timeout: Duration::from_secs(5),
            max_in_flight: 512,
            retry: RetryPolicy::default(),
            dead_letter: Subject::try_new(&format!("dlq.{}-{name}", self.tag)).unwrap(),
            max_hops: crate::hops::DEFAULT_MAX,
        }
    }

    /// Creates the streams `in` (captures `in.>`) and `out` (captures `out.>`) and a route over `in`.
    pub(super) async fn scene(&self) -> Scene {
        let (input, output) = (self.stream("in"), self.stream("out"));
        self.broker.provision(&[input.clone(), output.clone()]).await.unwrap();
        let route = self.route("route", &input);
        let source = self.broker.open(&route).await.unwrap();
        Scene { input, output, route, source }
    }

    /// Publishes one message per payload to `<subject>`, with ids of their own.
    pub(super) async fn publish(&self, subject: &str, payloads: &[&str]) -> Vec<Published> {
        let messages = payloads.iter().map(|payload| self.outgoing(subject, &new_id(), payload)).collect();
        self.broker.publish(messages).await.into_iter().map(Result::unwrap).collect()
    }

    pub(super) fn outgoing(&self, subject: &str, id: &str, payload: &str) -> Outgoing {
        Outgoing { id: id.to_owned(), message: self.message(subject, payload) }
    }

    pub(super) fn message(&self, subject: &str, payload: &str) -> Message {
        Message {
            subject: self.subject(subject),
            headers: Headers::new(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
        }
    }

    /// What a stream holds now: the payloads, in order. Read to its end, not until nothing comes for a while, which on a
    /// loaded machine is something else.
    pub(super) async fn contents(&self, stream: &StreamConfig) -> Vec<String> {
        let last = self.broker.bounds(&stream.name).await.unwrap().last;
        let from = ReadFrom { stream: stream.name.clone(), subjects: stream.subjects.clone(), after: 0 };
        let mut reader = self.broker.read(from).await.unwrap();
        let deadline = Instant::now() + SOON;
        let mut found = Vec::new();
        let mut through = 0;
        while through < last {
            assert!(Instant::now() < deadline, "through {through} of {last} messages of `{}`", stream.name);
            let stretch = reader.next(256).await.unwrap();
            found.extend(stretch.messages.iter().map(|it| String::from_utf8(it.message.payload.to_vec()).unwrap()));
            through = stretch.through;
        }
        found
    }

    /// Waits until the backlog is what it should be: a broker may count with a little delay.
    pub(super) async fn backlog_becomes(&self, route: &RouteConfig, wanted: Backlog) {
        let deadline = Instant::now() + SOON;
        loop {
            let found = self.broker.backlog(route).await.unwrap();
            if found == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "the backlog is {found:?}, expected {wanted:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The dead letters of one route.
    pub(super) async fn dead_letters(&self, route: &RouteConfig) -> Vec<StoredDeadLetter> {
        let query = DeadLetterQuery { route: Some(route.name.clone()), after: 0, limit: 1000 };
        self.broker.dead_letters(query).await.unwrap()
    }
}

/// An input stream, an output stream and an open route from the beginning of the input.
pub(super) struct Scene {
    pub(super) input: StreamConfig,
    pub(super) output: StreamConfig,
    pub(super) route: RouteConfig,
    pub(super) source: Arc<dyn Source>,
}

impl Scene {
    /// The commit of a delivery of this scene's route.
    pub(super) fn commit(&self, delivery: &Delivery, emits: Vec<Outgoing>) -> Commit {
        commit(&self.route, delivery, emits)
    }

    /// A dead letter as the host writes it, reduced to what a broker may look at.
    pub(super) fn record(&self, delivery: &Delivery, reason: &str) -> Message {
        let subject = format!("{}.{}.{}", self.route.dead_letter, delivery.origin.stream, delivery.origin.sequence);
        let mut headers = delivery.message.headers.clone();
        headers.set("Dlq-Route", self.route.name.as_str());
        headers.set("Dlq-Stream", delivery.origin.stream.as_str());
        headers.set("Dlq-Sequence", delivery.origin.sequence.to_string());
        headers.set("Dlq-Reason", reason);
        Message { subject: Subject::try_new(&subject).unwrap(), headers, payload: delivery.message.payload.clone() }
    }
}

pub(super) fn commit(route: &RouteConfig, delivery: &Delivery, emits: Vec<Outgoing>) -> Commit {
    Commit {
        route: route.name.clone(),
        origin: delivery.origin.clone(),
        receipt: delivery.receipt.clone(),
        emits: emits.into(),
    }
}

/// An id that was never used.
pub(super) fn new_id() -> String {
    Uuid::now_v7().to_string()
}

pub(super) fn payload(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.payload.to_vec()).unwrap()
}

/// Pulls until `count` deliveries have come, in the order of their coming.
pub(super) async fn take(source: &Arc<dyn Source>, count: usize) -> Vec<Delivery> {
    take_within(source, count, SOON).await
}

pub(super) async fn take_within(source: &Arc<dyn Source>, count: usize, patience: Duration) -> Vec<Delivery> {
    let deadline = Instant::now() + patience;
    let mut taken = Vec::new();
    while taken.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} deliveries came: {taken:?}", taken.len());
        taken.extend(source.pull(count - taken.len()).await.unwrap());
    }
    taken
}

pub(super) async fn take_one(source: &Arc<dyn Source>) -> Delivery {
    take(source, 1).await.remove(0)
}

/// Looks for a while and finds nothing. What is held meanwhile comes back after the acknowledgement wait, which a broker
/// under test has to make much longer than this.
pub(super) async fn nothing_comes(source: &Arc<dyn Source>) {
    let deadline = Instant::now() + QUIET;
    while Instant::now() < deadline {
        let came = source.pull(16).await.unwrap();
        assert!(came.is_empty(), "nothing was expected, this came: {came:?}");
    }
}

/// How long an unsettled delivery may take to come back by itself.
pub(super) fn patience(source: &Arc<dyn Source>) -> Duration {
    source.ack_wait().unwrap_or_default() + SOON
}

/// Equal to the millisecond: a broker may keep a time as text.
pub(super) fn same_millisecond(left: SystemTime, right: SystemTime) -> bool {
    let distance = left.duration_since(right).unwrap_or_else(|error| error.duration());
    distance <= Duration::from_millis(1)
}
