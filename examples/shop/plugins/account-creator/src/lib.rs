//! Opens an account for a validated customer, one per e-mail address.
//!
//! Two customers with the same address can arrive at the same moment, on two instances. Both see no account; both want
//! to write the key. The host commits one of them and runs the other again, which then finds the address taken. The
//! account's id is a stable id, so that a repeated call opens the same account and not a second one.

use tidemill_sdk::prelude::*;

#[derive(Deserialize)]
struct Customer {
    customer_id: String,
    name: String,
    email: String,
    country: String,
}

/// What the state holds under `email/<address in lower case>`.
#[derive(Serialize, Deserialize)]
struct Account {
    account_id: String,
    customer_id: String,
}

struct AccountCreator;

impl Handler for AccountCreator {
    type Data = Customer;

    fn handle(event: Event<Customer>, _: &Context) -> Outcome {
        let Customer { customer_id, name, email, country } = event.data;
        let key = format!("email/{}", email.to_lowercase());
        let account = Account { account_id: host::stable_id("account"), customer_id };
        if state::insert_json(&key, &account)? {
            let Account { account_id, customer_id } = account;
            let created = json!({
                "account_id": account_id, "customer_id": customer_id,
                "name": name, "email": email, "country": country,
            });
            Emit::to("accounts.created").kind("AccountCreated").subject(account_id).json(&created).send()?;
            return Ok(());
        }
        let owner: Account = state::get_json(&key)?.or_retry("an account vanished between two looks at it")?;
        if owner.customer_id != account.customer_id {
            let rejected = json!({ "customer_id": account.customer_id, "email": email, "reason": "email-taken" });
            Emit::to("accounts.rejected")
                .kind("AccountRejected")
                .subject(account.customer_id)
                .json(&rejected)
                .send()?;
        }
        Ok(())
    }
}

tidemill_sdk::handler!(AccountCreator);

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_sdk::testing::Harness;

    fn validated(customer: &str, email: &str) -> Event<Raw> {
        let data = json!({ "customer_id": customer, "name": "Ada", "email": email, "country": "GB" });
        Event::new("CustomerValidated").data(data)
    }

    #[test]
    fn the_first_customer_gets_the_address() {
        let mut creator = Harness::<AccountCreator>::new();

        let first = creator.handle(validated("c-1", "ada@example.com"));
        let created = first.emitted("AccountCreated").json();
        assert_eq!(created["account_id"], first.state_json::<Value>("email/ada@example.com").unwrap()["account_id"]);

        let second = creator.handle(validated("c-2", "Ada@Example.com"));
        let expected = json!({ "customer_id": "c-2", "email": "Ada@Example.com", "reason": "email-taken" });
        assert_eq!(second.emitted("AccountRejected").json(), expected);
        assert_eq!(second.emits.len(), 1);
        assert_eq!(second.state, first.state);
    }

    #[test]
    fn a_customer_who_is_validated_again_keeps_the_account() {
        let mut creator = Harness::<AccountCreator>::new();
        creator.handle(validated("c-1", "ada@example.com")).assert_done();
        creator.handle(validated("c-1", "ada@example.com")).assert_no_emits();
    }

    #[test]
    fn an_unreachable_store_is_a_retry() {
        let mut creator = Harness::<AccountCreator>::new().state_unavailable();
        creator.handle(validated("c-1", "ada@example.com")).assert_retry("the state is unavailable");
    }
}
