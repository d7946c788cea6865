"""What an aggregator publishes about a project: the real app's two files, and fedkit's own `history.json`.

All three are derived from the round records and the participants' mailboxes, so a crash can't leave them wrong for long.
Nothing per participant is published beyond what the real app shows: of a round, how many took part, were refused or were
absent, but not who, and losses and sample counts stay with the aggregator.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedkit.base.files import is_file, read_json
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.permissions import has_permission_file
from fedkit.protocol.project import EVERYBODY, AtAggregator
from fedkit.rounds.history import RoundRecord

__all__ = ["outdated"]


_LONGEST = 200  # of what a participant writes, so much is shown to the world


def outdated(at: AtAggregator, records: Sequence[RoundRecord]) -> dict[Path, Any]:
    """The public files whose content is not what it should be, with what it should be; looks only."""
    site, place, config = at.site, at.place, at.config
    folder = site.public_results(config.project_name)
    evaluated = [record for record in records if record.evaluated]
    metrics: list[dict[str, Any]] = [{"accuracy": 0, "round": 0}]
    metrics += [
        {"round": record.round, "accuracy": record.accuracy, **record.metrics}
        for record in evaluated
    ]
    newest = place.global_model(len(evaluated))  # as large as an update, which has its form
    history: dict[str, Any] = {
        "project": config.project_name,
        "rounds": config.rounds,
        "model_bytes": newest.stat().st_size if is_file(newest) else None,
        "history": [_round(record, config) for record in evaluated],
    }
    if is_file(place.stopped):
        history["stopped"] = True
    rows = [_row(at, email) for email in config.participants]
    before = read_json(folder / "participants.json")
    if isinstance(before, list) and len(before) == len(rows):
        rows = [_never_back(old, new) for old, new in zip(before, rows, strict=True)]
    wanted = {"accuracy_metrics.json": metrics, "participants.json": rows, "history.json": history}
    return {
        folder / name: value
        for name, value in wanted.items()
        if read_json(folder / name) != value
        or not at.is_sent(folder / name, EVERYBODY, config.rounds)
    }


def _round(record: RoundRecord, config: FLConfig) -> dict[str, Any]:
    """One round, in numbers that name nobody.

    Whether an update is refused depends on what is in it: where differential privacy covers whole participants, all who
    have sent one count as participants.
    """
    counts = {
        "participants": len(record.contributions),
        "refused": len(record.refused),
        "absent": len(record.absent),
    }
    if config.dp is not None and config.dp.unit == "participant":
        counts["participants"] += counts.pop("refused")
    told = ("round", "accuracy", "loss", "learning_rate", "local_epochs")
    values = {name: getattr(record, name) for name in told}
    told_too = {"metrics": dict(record.metrics)} if record.metrics else {}
    return values | {"asked": sum(counts.values())} | counts | told_too


def _row(at: AtAggregator, email: str) -> dict[str, Any]:
    project, rounds = at.mailbox(email), at.config.rounds
    state = at.read_object(project.state)
    progress = state.get("model_train_progress") or None
    newest = next((n for n in range(rounds, 0, -1) if at.place.has_update(email, n)), 0)
    return {
        "Email": email,
        "Fl Client Installed": has_permission_file(at.site.client(email).request),
        "Project Approved": has_permission_file(project.agg_weights),
        "Added Private Data": bool(state.get("dataset_added")),
        "Round (current/total)": f"{newest}/{rounds}",
        "Training Progress": progress[:_LONGEST] if isinstance(progress, str) else "N/A",
    }


def _never_back(old: Any, new: dict[str, Any]) -> dict[str, Any]:
    """A participant that has moved its folder to done/ is still installed, approved and trained."""
    if not isinstance(old, dict) or old.get("Email") != new["Email"] or new["Project Approved"]:
        return new
    stays = ("Project Approved", "Added Private Data", "Training Progress")
    return new | {key: old[key] for key in stays if type(old.get(key)) is type(new[key])}
