"""What tools/schemathesis changes in the requests that it makes up."""

import schemathesis


@schemathesis.hook
def map_body(context, body):
    """`1.0` is an integer to JSON Schema and none to CloudEvents, which a description cannot say: `1` is sent."""
    return whole(body)


def whole(value):
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: whole(member) for name, member in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return value
