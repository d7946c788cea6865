"""Where each participant stands: approval, its last round, and what crossed its border."""

from __future__ import annotations

from dataclasses import dataclass

from fedkit.datasite import Datasite
from fedkit.network import Network
from fedkit.permissions import has_permission_file
from fedkit.records import History

__all__ = ["Row", "standing"]


@dataclass(frozen=True)
class Row:
    """One participant as the panel shows it; numbers of its last round, None where there are none.

    norm : L2 norm of its update. seconds : of local training. up, down : bytes that left and reached its data dir.
    """

    participant: str
    approved: bool
    num_samples: int | None
    loss: float | None
    norm: float | None
    seconds: float | None
    up: int
    down: int


def standing(network: Network, history: History) -> tuple[Row, ...]:
    """One row a participant, in the network's order."""
    up, down = dict.fromkeys(network.sites, 0), dict.fromkeys(network.sites, 0)
    for entry in network.ledger():
        up[entry.sender] = up.get(entry.sender, 0) + entry.size
        down[entry.receiver] = down.get(entry.receiver, 0) + entry.size
    last = {part.participant: part for record in history for part in record.contributions}
    rows = []
    for email in network.participants:
        mine, part = network[email].client().project(history.project), last.get(email)
        rows.append(
            Row(
                email,
                bool(history.project)
                and (has_permission_file(mine.agg_weights) or _done(network[email], history)),
                part.num_samples if part else None,
                part.loss if part else None,
                part.norm if part else None,
                part.seconds if part else None,
                up[email],
                down[email],
            )
        )
    return tuple(rows)


def _done(site: Datasite, history: History) -> bool:
    return site.client().project(history.project, "done").path.is_dir()
