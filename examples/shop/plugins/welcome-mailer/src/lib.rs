//! Writes the welcome mail for a new account. The mail is an event: whatever sends mails reads it from there.

use tidemill_sdk::prelude::*;

#[derive(Deserialize)]
struct Account {
    account_id: String,
    name: String,
    email: String,
}

struct WelcomeMailer;

impl Handler for WelcomeMailer {
    type Data = Account;

    fn handle(event: Event<Account>, _: &Context) -> Outcome {
        let Account { account_id, name, email } = event.data;
        let shop: String = config::get("shop_name")?.unwrap_or_else(|| "the shop".to_owned());
        let first_name = name.split_whitespace().next().or_reject("an account needs a name to be greeted by")?;
        let mail = json!({
            "account_id": account_id,
            "to": email,
            "subject": format!("Welcome to {shop}, {first_name}!"),
            "body": format!(
                "Dear {name},\n\nyour account is ready. You can sign in with {email}.\n\nHave a good time,\nall of us at {shop}\n"
            ),
        });
        Emit::to("mails.sent").kind("WelcomeMailSent").subject(account_id).json(&mail).send()?;
        Ok(())
    }
}

tidemill_sdk::handler!(WelcomeMailer);

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_sdk::testing::Harness;

    fn created(name: &str) -> Event<Raw> {
        let data = json!({ "account_id": "a-1", "customer_id": "c-1", "name": name, "email": "ada@example.com" });
        Event::new("AccountCreated").data(data)
    }

    #[test]
    fn the_mail_greets_by_name() {
        let run = Harness::<WelcomeMailer>::new().config("shop_name", "Millrace").handle(created("Ada Lovelace"));
        let mail = run.emitted("WelcomeMailSent").json();
        assert_eq!(mail["subject"], "Welcome to Millrace, Ada!");
        assert_eq!(mail["to"], "ada@example.com");
        assert!(mail["body"].as_str().unwrap().starts_with("Dear Ada Lovelace,\n\n"));
    }

    #[test]
    fn nobody_is_greeted_without_a_name() {
        Harness::<WelcomeMailer>::new().handle(created("  ")).assert_rejected("needs a name");
    }
}
