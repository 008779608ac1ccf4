"""Writes the welcome mail for a new account. The mail is an event: whatever sends mails reads it from there."""

from dataclasses import dataclass

from tidemill import Event, config, emit, handler, reject

BODY = """\
Dear {name},

your account is ready. You can sign in with {email}.

Have a good time,
all of us at {shop}
"""


@dataclass
class Account:
    account_id: str
    name: str
    email: str


@dataclass
class Mail:
    account_id: str
    to: str
    subject: str
    body: str


@handler
def welcome(event: Event[Account]) -> None:
    account = event.data
    emit("mails.sent", "WelcomeMailSent", write(account), subject=account.account_id)


def write(account: Account) -> Mail:
    shop = config.get("shop_name", str, "the shop")
    first_name, *_ = account.name.split() or reject("an account needs a name to be greeted by")
    return Mail(
        account_id=account.account_id,
        to=account.email,
        subject=f"Welcome to {shop}, {first_name}!",
        body=BODY.format(name=account.name, email=account.email, shop=shop),
    )
