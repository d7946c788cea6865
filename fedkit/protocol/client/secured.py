"""What a participant keeps of masked rounds: the secrets of the one under way, and for ever which ones there were.

An update that was under masks never goes under others: two sums of it, once with and once without somebody, show what
differs between them, which is somebody's update.
"""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event
from fedkit.base.files import is_file, read_own, sha256_bytes, write_bytes
from fedkit.base.scratch import patiently
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.round_plan import RoundPlan
from fedkit.datasite.tree import entries, folder_names
from fedkit.protocol.approval import pin_path
from fedkit.protocol.project import AtParticipant
from fedkit.protocol.steps import Next

__all__ = [
    "KEPT",
    "RESTORE",
    "begin_from",
    "forget",
    "forget_ended",
    "forget_others",
    "mark",
    "refuse_again",
    "trained_by",
    "trained_from",
    "vault_of",
]


KEPT = "file of this round that this participant wrote"
RESTORE = "restore it: without it, this participant takes no further part in the round"


def vault_of(site: Datasite, project: str) -> Path:
    """The folder of a project's secrets, one folder a round."""
    return site.private_client / "secagg" / site.email / project


def forget_others(at: AtParticipant, n: int) -> Next:
    """The secrets of rounds other than n go, whether or not this participant has a part in that one."""
    over = [path for path in entries(vault_of(at.site, at.name)) if path.name != str(n)]

    def do() -> list[Event]:
        for vault in over:
            patiently(partial(shutil.rmtree, vault))
        return []

    return do if over else None


def forget(site: Datasite, project: str) -> None:
    """Remove the secrets of a project: with them, its masked updates could be opened."""
    shutil.rmtree(vault_of(site, project), ignore_errors=True)


def forget_ended(site: Datasite) -> None:
    """Remove the secrets of projects that are over here, however they ended: finished, removed, or cut off in between."""
    box = site.client()
    kept = set(folder_names(vault_of(site, "project").parent)) - set(folder_names(box.running))
    done = set(folder_names(box.done)) if kept else set()
    for project in kept:
        if project in done or not is_file(pin_path(site, project)):
            forget(site, project)


def begin_from(at: AtParticipant, plan: RoundPlan, model: bytes) -> None:
    """Before a masked round is trained: keep which global model and settings it starts from, whatever lies there later.

    Raises FedkitError where an update of that round, or from that model, was secured before.
    """
    digest = sha256_bytes(model)
    refuse_again(at, plan.round, digest)
    content = json.dumps({"sha256": digest, "signed": plan.started_from(digest)}).encode()
    write_bytes(_start(at, plan.round), content, mode=0o600)


def trained_from(at: AtParticipant, n: int) -> str:
    """SHA-256 of the global model that this participant's update of round n started from."""
    digest = _begun(at, n).get("sha256")
    return (
        digest if isinstance(digest, str) else sha256_bytes(at.read(at.place.global_model(n - 1)))
    )


def trained_by(at: AtParticipant, n: int) -> dict[str, Any]:
    """What this participant's update of round n follows from beside its samples and the approved config: the global model
    and whatever may differ between rounds. Empty where an older version trained it, which did not keep that."""
    signed = _begun(at, n).get("signed")
    return signed if isinstance(signed, dict) else {}


def _begun(at: AtParticipant, n: int) -> dict[str, Any]:
    kept = read_own(_start(at, n), KEPT, RESTORE)
    return kept if isinstance(kept, dict) else {}


def _start(at: AtParticipant, n: int) -> Path:
    return vault_of(at.site, at.name) / str(n) / "model.json"


def refuse_again(at: AtParticipant, n: int, model: str) -> None:
    """Raises FedkitError if this round of the approved config, or this model, was under masks already.

    The same update under new keys, once with and once without somebody, is that person's update: so no round comes back,
    and nothing is trained on one model twice.
    """
    kept = _secured(at.site)
    last = kept["rounds"].get(at.hashes["fl_config.json"], 0)
    if n <= last:
        raise _again(at, f"round {n} is asked for again; round {last} was secured already")
    if model in kept["models"]:
        raise _again(at, f"round {n} starts from a model that {kept['models'][model]} did already")


def mark(at: AtParticipant, n: int, model: str) -> None:
    """Write down, for ever, that round n of this config and an update from this model were secured."""
    kept, config = _secured(at.site), at.hashes["fl_config.json"]
    kept["rounds"][config] = max(n, kept["rounds"].get(config, 0))
    kept["models"].setdefault(model, f"round {n} of {at.name}")
    write_bytes(_marks(at.site), json.dumps(kept).encode(), mode=0o600)


def _again(at: AtParticipant, what: str) -> FedkitError:
    return FedkitError(
        f"is refused: {what}",
        file=at.place.config,
        why="Two sums of the same update show what differs between them: somebody's update",
        remedy="ask the aggregator; a new project needs other seed weights",
    )


def _secured(site: Datasite) -> dict[str, dict[str, Any]]:
    """What was ever secured here: the last round by config, and by model which round of which project. It never shrinks."""
    values = read_own(_marks(site), "list of secured rounds", "restore it")
    if values is None:
        return {"rounds": {}, "models": {}}
    if not isinstance(values, dict) or any(
        not isinstance(values.get(key), dict) for key in ("rounds", "models")
    ):
        raise FedkitError(
            "is no list of secured rounds", file=_marks(site), remedy="restore it from a copy"
        )
    return values


def _marks(site: Datasite) -> Path:
    # beside the folders of people, where no project's name can lead
    return site.private_client / "secagg" / "secured" / f"{site.email}.json"
