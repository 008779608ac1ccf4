import unittest

from tidemill import Event
from tidemill.testing import Harness, make_event
from welcome_mailer import welcome


def created(name: str) -> Event[bytes]:
    account = {"account_id": "a-1", "customer_id": "c-1", "name": name, "email": "ada@example.com", "country": "GB"}
    return make_event("AccountCreated", account)


class WelcomeMailer(unittest.TestCase):
    def test_the_mail_greets_by_name(self):
        run = Harness(welcome, config={"shop_name": "Millrace"}, emits=["mails.sent"]).handle(created("Ada Lovelace"))
        run.assert_done()
        mail = run.emitted("WelcomeMailSent")
        self.assertEqual((mail.to, mail.subject), ("mails.sent", "a-1"))
        self.assertEqual(
            mail.json(),
            {
                "account_id": "a-1",
                "to": "ada@example.com",
                "subject": "Welcome to Millrace, Ada!",
                "body": "Dear Ada Lovelace,\n\nyour account is ready. You can sign in with ada@example.com.\n\n"
                "Have a good time,\nall of us at Millrace\n",
            },
        )

    def test_a_shop_without_a_name_is_the_shop(self):
        mail = Harness(welcome).handle(created("Ada")).emitted("WelcomeMailSent").json()
        self.assertEqual(mail["subject"], "Welcome to the shop, Ada!")

    def test_nobody_is_greeted_without_a_name(self):
        Harness(welcome).handle(created("  ")).assert_rejected("an account needs a name to be greeted by")


if __name__ == "__main__":
    unittest.main()
