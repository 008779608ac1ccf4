//! Checks a new customer against the shop's rules: e-mail, age, country.
//!
//! The shape of the data is the schema's business; here are only the rules that the business changes now and then, so
//! they come from the configuration. All broken rules are reported, not just the first.

use tidemill_sdk::prelude::*;

#[derive(Deserialize)]
struct Customer {
    customer_id: String,
    name: String,
    email: String,
    age: u32,
    country: String,
}

#[derive(Serialize)]
struct Problem {
    field: &'static str,
    problem: String,
}

/// The configuration, with defaults for what is left out.
struct Rules {
    minimum_age: u32,
    countries: Vec<String>,
    blocked_domains: Vec<String>,
}

struct CustomerValidator;

impl Handler for CustomerValidator {
    type Data = Customer;

    fn handle(event: Event<Customer>, _: &Context) -> Outcome {
        let customer = event.data;
        let problems = Rules::read()?.check(&customer);
        let Customer { customer_id, name, email, country, .. } = customer;
        if problems.is_empty() {
            let validated = json!({ "customer_id": customer_id, "name": name, "email": email, "country": country });
            Emit::to("customers.validated").kind("CustomerValidated").subject(customer_id).json(&validated).send()?;
        } else {
            info!("refused a customer"; customer = customer_id, problems = problems.len());
            let failed = json!({ "customer_id": customer_id, "email": email, "reasons": problems });
            let emit = Emit::to("customers.validation-failed").kind("CustomerValidationFailed");
            emit.subject(customer_id).json(&failed).send()?;
        }
        Ok(())
    }
}

impl Rules {
    fn read() -> Result<Self, config::ConfigError> {
        Ok(Self {
            minimum_age: config::get("minimum_age")?.unwrap_or(18),
            countries: config::get("countries")?.unwrap_or_default(),
            blocked_domains: config::get("blocked_domains")?.unwrap_or_default(),
        })
    }

    fn check(&self, customer: &Customer) -> Vec<Problem> {
        let domain = customer.email.rsplit('@').next().unwrap_or_default().to_lowercase();
        let mut problems = Vec::new();
        if self.blocked_domains.contains(&domain) {
            problems.push(Problem { field: "email", problem: format!("addresses at {domain} are not accepted") });
        }
        if customer.age < self.minimum_age {
            let problem = format!("must be at least {}, is {}", self.minimum_age, customer.age);
            problems.push(Problem { field: "age", problem });
        }
        if !self.countries.is_empty() && !self.countries.contains(&customer.country) {
            let problem = format!("the shop does not deliver to {}", customer.country);
            problems.push(Problem { field: "country", problem });
        }
        problems
    }
}

tidemill_sdk::handler!(CustomerValidator);

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_sdk::testing::{Harness, Run};

    fn register(email: &str, age: u32, country: &str) -> Run {
        Harness::<CustomerValidator>::new()
            .config("countries", ["US", "DE"])
            .config("blocked_domains", ["mailinator.example"])
            .emits(["customers.validated", "customers.validation-failed"])
            .handle(Event::new("CustomerRegistered").data(json!({
                "customer_id": "c-1", "name": "Ada", "email": email, "age": age, "country": country,
            })))
    }

    #[test]
    fn a_good_customer_is_validated() {
        let run = register("ada@example.com", 36, "DE");
        let expected = json!({ "customer_id": "c-1", "name": "Ada", "email": "ada@example.com", "country": "DE" });
        assert_eq!(run.emitted("CustomerValidated").json(), expected);
    }

    #[test]
    fn every_broken_rule_is_reported() {
        let run = register("ada@Mailinator.example", 17, "AQ");
        assert_eq!(
            run.emitted("CustomerValidationFailed").json()["reasons"],
            json!([
                { "field": "email", "problem": "addresses at mailinator.example are not accepted" },
                { "field": "age", "problem": "must be at least 18, is 17" },
                { "field": "country", "problem": "the shop does not deliver to AQ" },
            ])
        );
        assert_eq!(run.emits.len(), 1);
    }
}
