//! Customers, and how far each registration has come. It folds what customers, accounts and mails are told of.
//!
//! | collection | key | document |
//! |---|---|---|
//! | `customers` | customer | name, address, country, status, account, when registered and last changed |
//! | `registrations` | the id of the `CustomerRegistered` event | status, customer, account, and why it was rejected |
//!
//! Whoever registers gets the event's id as a tracking id, and finds here what became of it. The events that follow carry it as
//! `correlationid`, from plugin to plugin, unless the registration brought a correlation id of its own: then what follows is kept
//! under that one, and under the tracking id as soon as the two are known to belong together.
//!
//! The events come from three streams, between which there is no order: the mail may be folded before the account. So a status
//! never goes back, and each field is taken from the event that knows it best.

use tidemill_sdk::prelude::*;

const CUSTOMERS: &str = "customers";
const REGISTRATIONS: &str = "registrations";

/// A document of `customers`. Indexed by `status`, `account_id` and `email`.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Customer {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newsletter: Option<bool>,
    status: Standing,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registered_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
}

/// Who was rejected once may come again and get an account.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Standing {
    #[default]
    Registered,
    Rejected,
    Active,
}

/// A document of `registrations`. Indexed by `status`.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Registration {
    status: Stage,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
    /// Where this is a correlation id and not the tracking id: the tracking id.
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking_id: Option<String>,
}

/// How far a registration has come. A rejected one goes no further.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    #[default]
    Received,
    Validated,
    AccountCreated,
    Welcomed,
    Rejected,
}

/// Why a registration was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Reason {
    field: String,
    problem: String,
}

/// What the events tell; which of it is there depends on the type.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    customer_id: Option<String>,
    account_id: Option<String>,
    name: Option<String>,
    email: Option<String>,
    country: Option<String>,
    newsletter: Option<bool>,
    /// `CustomerValidationFailed`.
    reasons: Vec<Reason>,
    /// `AccountRejected`.
    reason: Option<String>,
}

struct CustomerView;

impl Projection for CustomerView {
    type Data = Raw;

    fn apply(event: Event<Raw>, _: &Context) -> Outcome {
        let stage = match event.kind.as_str() {
            "CustomerRegistered" => Stage::Received,
            "CustomerValidated" => Stage::Validated,
            "CustomerValidationFailed" | "AccountRejected" => Stage::Rejected,
            "AccountCreated" => Stage::AccountCreated,
            "WelcomeMailSent" => Stage::Welcomed,
            _ => return Ok(()),
        };
        let told: Told = event.data.read()?;
        follow(&event, stage, &told)?;
        // Of the mail it is known only whose account it went to, and the customer has learned of that already.
        match told.customer_id.clone() {
            Some(id) => know(&id, stage, told, event.time),
            None => Ok(()),
        }
    }
}

/// Follows a registration by its tracking id and its correlation id, which are mostly the same.
fn follow(event: &Event<Raw>, stage: Stage, told: &Told) -> Outcome {
    let correlation = event.extension("correlationid");
    if stage != Stage::Received {
        // What nobody registered for, somebody published by hand.
        let Some(id) = correlation else { return Ok(()) };
        let learned = learn(id, |it| it.take(stage, told, event.time.as_deref()))?;
        if let Some(tracking) = learned.tracking_id {
            learn(&tracking, |it| it.take(stage, told, event.time.as_deref()))?;
        }
        return Ok(());
    }
    let earlier = match correlation.filter(|id| *id != event.id) {
        Some(id) => Some(learn(id, |it| it.tracking_id = Some(event.id.clone()))?),
        None => None,
    };
    learn(&event.id, |it| {
        if let Some(earlier) = earlier {
            it.join(earlier);
        }
        it.received_at = event.time.clone();
        it.take(stage, told, event.time.as_deref());
    })?;
    Ok(())
}

fn learn(id: &str, change: impl FnOnce(&mut Registration)) -> Result<Registration, Failure> {
    Ok(read_model::update(REGISTRATIONS, id, |registration: Option<Registration>| {
        let mut registration = registration.unwrap_or_default();
        change(&mut registration);
        registration
    })?)
}

fn know(id: &str, stage: Stage, told: Told, time: Option<String>) -> Outcome {
    let standing = match stage {
        Stage::Received | Stage::Validated => Standing::Registered,
        Stage::Rejected => Standing::Rejected,
        Stage::AccountCreated | Stage::Welcomed => Standing::Active,
    };
    read_model::update(CUSTOMERS, id, |customer: Option<Customer>| {
        let mut customer = customer.unwrap_or_default();
        customer.status = customer.status.max(standing);
        customer.account_id = customer.account_id.or(told.account_id);
        customer.updated_at = customer.updated_at.max(time.clone());
        let Told { name, email, country, newsletter, .. } = told;
        if stage == Stage::Received {
            // The customer's own words.
            let registered_at = time;
            customer = Customer { name, email, country, newsletter, registered_at, ..customer };
        } else {
            customer.name = customer.name.or(name);
            customer.email = customer.email.or(email);
            customer.country = customer.country.or(country);
        }
        customer
    })?;
    Ok(())
}

// === impl Registration ===

impl Registration {
    /// Takes what an event tells.
    fn take(&mut self, stage: Stage, told: &Told, time: Option<&str>) {
        let taken = told.reason.iter().map(|reason| Reason { field: "account".to_owned(), problem: reason.clone() });
        self.join(Registration {
            status: stage,
            customer_id: told.customer_id.clone(),
            account_id: told.account_id.clone(),
            reasons: told.reasons.iter().cloned().chain(taken).collect(),
            updated_at: time.map(str::to_owned),
            ..Registration::default()
        });
    }

    /// Takes what was learned elsewhere of the same registration.
    fn join(&mut self, other: Registration) {
        self.status = self.status.max(other.status);
        self.customer_id = self.customer_id.take().or(other.customer_id);
        self.account_id = self.account_id.take().or(other.account_id);
        let new = other.reasons.into_iter().filter(|reason| !self.reasons.contains(reason)).collect::<Vec<_>>();
        self.reasons.extend(new);
        // Texts of the same format compare as the times do, and no time is less than any.
        self.updated_at = self.updated_at.take().max(other.updated_at);
    }
}

tidemill_sdk::projection!(CustomerView);

#[cfg(test)]
mod tests;
