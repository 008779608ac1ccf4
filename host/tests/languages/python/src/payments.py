"""Records payments and issues receipts. The same handler is written in every language, and one test compares them."""

from dataclasses import dataclass

from tidemill import Context, Event, config, emit, handler, log, reject, retry, state


@dataclass
class Item:
    sku: str
    quantity: int
    unit_price: int


@dataclass
class Payment:
    payment_id: str
    account: str
    amount: int
    items: list[Item]
    trouble: str | None = None


@handler
def record(event: Event[Payment], context: Context) -> None:
    payment = event.data
    check(payment)
    make_trouble(payment.trouble, context.attempt)
    account, amount, lines = payment.account, payment.amount, len(payment.items)
    balance = state.update(f"balance/{account}", lambda balance: balance + amount, int, 0)
    recorded = {"payment_id": payment.payment_id, "account": account, "balance": balance}
    emit("payments.recorded", "PaymentRecorded", recorded, subject=account)
    receipt = {"payment_id": payment.payment_id, "lines": lines, "amount": amount}
    emit("receipts.issued", "ReceiptIssued", receipt, extensions={"lines": str(lines)})
    log.info("recorded a payment", payment_id=payment.payment_id, balance=balance)


def check(payment: Payment) -> None:
    total = sum(item.quantity * item.unit_price for item in payment.items)
    if total != payment.amount:
        reject(f"the amount is {payment.amount}, the items add up to {total}")
    limit = config.get("limit", int, 100_000)
    if payment.amount > limit:
        reject(f"{payment.amount} is above the limit of {limit}")


def make_trouble(trouble: str | None, attempt: int) -> None:
    match trouble:
        case "retry" if attempt == 1:
            retry("asked to be tried again", after=10)
        case "throw":
            raise RuntimeError("boom")
        case "spin":
            while True:
                pass
        case "memory":
            kept = []
            while True:
                kept.append(bytearray(1024 * 1024))
