//! The frame of a projection: like a handler's, and a second trait for questions.

use crate::{Context, Event, Failure, FromData, Outcome, Raw, Value, reject};

/// A plugin that folds events into collections of documents. Export it with [`projection!`](crate::projection).
///
/// ```
/// # use tidemill_sdk::prelude::*;
/// #[derive(Serialize, Deserialize)]
/// struct Order {
///     customer: String,
///     status: String,
/// }
///
/// #[derive(Deserialize)]
/// struct Created {
///     order: String,
///     customer: String,
/// }
///
/// struct OrderView;
///
/// impl Projection for OrderView {
///     type Data = Created;
///
///     fn apply(event: Event<Created>, _: &Context) -> Outcome {
///         let Created { order, customer } = event.data;
///         read_model::put("orders", &order, &Order { customer, status: "pending".to_owned() })?;
///         Ok(())
///     }
/// }
///
/// tidemill_sdk::projection!(OrderView);
/// ```
pub trait Projection {
    /// What the event's data is: any type with `serde::Deserialize`, or, where events of several types are folded,
    /// [`Raw`](crate::Raw), which is then [read](crate::Raw::read) as what [`Event::kind`](crate::Event) says. Data that
    /// does not fit rejects the event, with the place and the reason.
    type Data: FromData;

    /// Folds one event into the documents of [`read_model`](crate::read_model).
    ///
    /// Events come one by one, in the order of their stream; between streams there is no order. What is written becomes
    /// durable together with the projection's position, so each event is folded exactly once. On `Err`, after a panic and
    /// after a timeout this event's writes are undone, and no others.
    ///
    /// A rebuild folds all events again, into empty collections: nothing but the event and the documents should decide
    /// what comes of it, neither the time nor chance.
    ///
    /// # Errors
    ///
    /// [`reject`](crate::reject) when trying again cannot help, [`retry`](crate::retry) when it can. Any other error that
    /// passes through `?` means retry.
    fn apply(event: Event<Self::Data>, context: &Context) -> Outcome;
}

/// Answers to questions that the host's query API cannot answer, because they need more than one document. Exported by
/// `projection!(OrderView, queries)`.
///
/// ```
/// # use tidemill_sdk::prelude::*;
/// # struct OrderView;
/// # impl Projection for OrderView {
/// #     type Data = Raw;
/// #     fn apply(_: Event<Raw>, _: &Context) -> Outcome { Ok(()) }
/// # }
/// #[derive(Deserialize)]
/// struct OfCustomer {
///     customer: String,
/// }
///
/// impl Queries for OrderView {
///     fn query(question: &Question) -> Answer {
///         match question.name() {
///             "spent" => {
///                 let OfCustomer { customer } = question.params()?;
///                 let mut spent = 0.0;
///                 for order in read_model::find::<Value>("orders", "customer", &customer) {
///                     spent += order?.body["total"].as_f64().unwrap_or(0.0);
///                 }
///                 Ok(json!({ "customer": customer, "spent": spent }))
///             }
///             _ => Err(question.unknown()),
///         }
///     }
/// }
///
/// tidemill_sdk::projection!(OrderView, queries);
/// ```
pub trait Queries: Projection {
    /// Answers a question with JSON of any kind.
    ///
    /// It reads the read model as far as it has been folded; events may be folded between two reads. Writing is refused.
    ///
    /// # Errors
    ///
    /// Whoever asked is told the reason. Nothing is tried again.
    fn query(question: &Question) -> Answer;
}

/// What [`Queries::query`] returns.
pub type Answer = Result<Value, Failure>;

/// A question about the read model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    name: String,
    params: Raw,
}

// === impl Question ===

impl Question {
    pub(crate) fn new(name: String, params: Vec<u8>) -> Self {
        Self { name, params: Raw(params) }
    }

    /// What is asked.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The parameters: an object, read as `T`. What does not fit is rejected, with the place and the reason.
    pub fn params<T: serde::de::DeserializeOwned>(&self) -> Result<T, Failure> {
        crate::data::read(&self.params.0, "the query's parameter object")
    }

    /// That there is no query of this name.
    #[must_use = "a failure does nothing until it is returned as `Err`"]
    pub fn unknown(&self) -> Failure {
        reject(format!("there is no query `{}`", self.name))
    }
}

/// Makes the crate a plugin that folds events: `projection!(OrderView)`; and one that answers questions, too:
/// `projection!(OrderView, queries)`. Stands once, at the root of a crate with `crate-type = ["cdylib"]`.
#[macro_export]
macro_rules! projection {
    ($projection:ty) => {
        const _: () = $crate::__private::is_projection::<$projection>();

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Component;

            impl $crate::__private::ProjectionGuest for Component {
                fn apply(
                    event: $crate::__private::RawEvent,
                    context: $crate::__private::RawContext,
                ) -> ::core::result::Result<(), $crate::__private::RawFailure> {
                    $crate::__private::apply::<$projection>(event, context)
                }
            }

    $crate::bindings::projection::export_projection!(Component with_types_in $crate::bindings::projection);
        };
    };
    ($projection:ty, queries) => {
        const _: () = $crate::__private::answers_queries::<$projection>();

        $crate::projection!($projection);

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Component;

            impl $crate::__private::QueriesGuest for Component {
                fn query(
                    name: ::std::string::String,
                    params: ::std::vec::Vec<u8>,
                ) -> ::core::result::Result<::std::vec::Vec<u8>, $crate::__private::RawFailure> {
                    $crate::__private::query::<$projection>(name, params)
                }
            }

    $crate::bindings::queries::export_queries!(Component with_types_in $crate::bindings::queries);
        };
    };
}
