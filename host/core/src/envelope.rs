//! Message to event, and emit to message.

/// How a stream's messages become events.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Envelope {
    /// CloudEvents 1.0 in binary (`ce-*` headers) or structured mode, told apart by the headers.
    #[default]
    CloudEvents,
    /// The payload is the data; the type comes from the subject.
    Raw,
    /// `eventId`, `eventType`, `timestamp`, `version`, `source`, `correlationId`, `data`, camelCase or snake_case.
    Seed,
}
