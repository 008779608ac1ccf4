"""Handlers and projections in plain `unittest` or `pytest`, without Wasm and without a server.

    from tidemill.testing import Harness, make_event
    from fraud_check import check

    def test_a_large_order_is_told():
        run = Harness(check, config={"threshold": 500}).handle(make_event("OrderCreated", {"id": "o-1", "total": 750}))
        run.assert_done()
        assert run.emitted("FraudChecked").json()["risk"] == "high"
        assert run.state_json("large-orders") == 1

A projection has a harness of its own, with collections of documents in place of state and emits:

    view = ProjectionHarness(fold, collections={"customers": []})
    run = view.apply(make_event("CustomerRegistered", {"id": "c-1", "name": "Ada"}))
    run.assert_done()
    assert run.document("customers", "c-1") == {"name": "Ada"}

The harnesses keep the host's promises: the emits, state writes and documents of a failed call vanish, a call sees its own
writes, and a refused emit or document fails the call even if the plugin ignores it. They do not check schemas, limits of
time and memory, or conflicts; those belong to the host.
"""

from tidemill.testing._event import make_event
from tidemill.testing._harness import Harness
from tidemill.testing._projection import ProjectionHarness
from tidemill.testing._run import Emitted, LogLine, Outcome, Run

__all__ = ["Emitted", "Harness", "LogLine", "Outcome", "ProjectionHarness", "Run", "make_event"]
