"""The small handler on componentize-py alone: what of Python's call is the interpreter and its bindings, and what the SDK."""

import gc
import json

from wit_world.imports import emit

read = json.JSONDecoder().raw_decode


class EventHandler:
    def handle(self, event, context):
        order, _ = read(event.data.decode())
        if order["total"] < 0:
            raise ValueError("a total cannot be negative")
        body = json.dumps({"order": order["id"], "large": order["total"] >= 1000}).encode()
        emit.emit(emit.Outgoing("checks.done", "OrderChecked", None, None, None, [], body))


# As the SDK does: the collector would look at the whole interpreter now and then.
gc.collect()
gc.freeze()
