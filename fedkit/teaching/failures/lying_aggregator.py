"""An aggregator that lies under secure aggregation: it takes whatever arrives, and shows people different things.

Files are what people are lied to with, so the lies are an actor's (`Network.run(actor=...)`): it changes what lies in a
participant's own mailbox before that one looks. fedkit's aggregator would refuse some of what comes back; `gullible` takes
that away, and what refuses then are the participants. Notebook 10.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from fedkit.base.events import Event
from fedkit.base.files import write_state
from fedkit.datasite.datasite import Datasite
from fedkit.federation.network import Actor, Go
from fedkit.learning.models import StateDict
from fedkit.protocol.aggregator import secure_inbox

__all__ = ["gullible", "shows_another_model"]


def shows_another_model(
    project: str, whom: Collection[str], weights: StateDict, model: int = 0
) -> Actor:
    """An actor: the participants `whom` find these weights in the place of a project's global model of that number."""

    def act(site: Datasite, go: Go) -> list[Event]:
        path = site.client().project(project).global_model(model)
        if site.email in whom and path.is_file():
            write_state(path, weights)
        return go()

    return act


@contextmanager
def gullible() -> Iterator[None]:
    """While it lasts, aggregators in this process pass on secure messages whatever these refer to."""
    honest = secure_inbox._need
    secure_inbox._need = lambda fits, otherwise: None
    try:
        yield
    finally:
        secure_inbox._need = honest
