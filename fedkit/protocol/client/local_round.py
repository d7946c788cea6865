"""One round at the participant: train from the global model on private data, keep the update, share a copy of it.

The training is `rounds/round.py`'s `local_update`; here are the files before and after it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError
from fedkit.base.events import (
    Event,
    Notice,
    Progress,
    Trained,
    UpdateShared,
    UpdateValidated,
)
from fedkit.base.files import is_file, load_state, read_object, same_content, sha256_bytes
from fedkit.config.validation import kept
from fedkit.datasite.paths import ClientProject
from fedkit.datasite.round_plan import RoundPlan
from fedkit.protocol.client.secured import begin_from
from fedkit.protocol.project import AtParticipant

__all__ = ["is_shared", "share", "train_round", "trained_samples"]

_INFO_BYTES = 256
"""Size of what an update says about itself: always the same, so that the size says nothing. What was measured on samples
kept back needs more, by the task alone."""


def train_round(
    at: AtParticipant,
    plan: RoundPlan,
    on_epoch: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> list[Event]:
    """Train a round. What its strategy needs beside the global model is waited for."""
    from fedkit.learning.device import find_device
    from fedkit.learning.models import check_state, fitting_model
    from fedkit.learning.randomness import NOT_REPEATABLE, is_repeatable
    from fedkit.learning.validated import most_text
    from fedkit.privacy.dp.policy import spend
    from fedkit.protocol.strategy_payload import keep_beside, receive
    from fedkit.rounds.round import as_seen, local_update
    from fedkit.rounds.trial_step import try_out

    place, config, n = at.place, at.config, plan.round
    path = place.global_model(n - 1)
    data = at.receive(path, config.aggregator, n - 1)
    start = load_state(data, path)
    beside = receive(at, start, n)
    if beside is None:
        what = f"send {place.extra_for(n).name}, which its strategy needs beside the global model"
        return [at.wait(config.aggregator, what)]

    began = time.perf_counter()
    first = not any(is_file(place.training_log(earlier)) for earlier in range(1, n))
    file = place.path / config.model_arch
    try:
        model = fitting_model(
            *(at.source, start, config.model_class_name),
            file=file,
            weights=path,
            remedy="ask the aggregator to check its weights",
            theirs=True,
            task=config.task,
        ).to(find_device(at.site.device))
        if first:
            try_out(config, at.source, file=file)
    except FedkitError as error:
        if error.file == file:  # what was approved is not the participant's to change
            error.remedy = f"ask {config.aggregator} to launch it anew, and say: {error.remedy}"
        raise
    shard = at.site.private.load(config.task)
    if config.secure_aggregation is not None:
        begin_from(at, plan, data)
    spend(at.site, config, plan, shard, start)  # before the training that spends it
    shard = as_seen(plan, at.site.email, shard)
    num_samples = len(shard[1])
    if plan.validation is not None:
        num_samples -= kept(plan.validation.share, num_samples)
    lines, losses = [f"Round {n}: {num_samples} samples\n"], list[float]()
    told = {"num_samples": num_samples} if config.tells_counts else {}
    started = f"Training Started for Round {n}"
    at.set_state(dataset_added=True, model_train_progress=started, **told)

    def after_epoch(epoch: int, loss: float) -> None:
        losses.append(loss)
        lines.append(f"Epoch {epoch:02d}: Loss = {loss:.6f}\n")
        at.write(place.training_log(n), "".join(lines).encode())
        progress = f"Training InProgress for Round {n} (Curr Epoc: {epoch}/{plan.epoch})"
        at.set_state(model_train_progress=progress)
        if on_epoch is not None:
            on_epoch(at.name, n, epoch, plan.epoch, loss)

    update, memory = local_update(
        *(at.strategy, plan, at.site.email, model, start, shard, *beside),
        on_epoch=after_epoch,
        stop=stop,
    )
    seconds = time.perf_counter() - began
    notices = list[Event]()
    # tried after the training, which starts from a model that nobody has called
    if first and not is_repeatable(model, shard[0]):
        notices = [Notice(at.site.email, at.name, NOT_REPEATABLE)]
    lost = check_state(update.state, update.state)
    if lost is not None and config.secure_aggregation is None:  # under masks, it is never sent
        endless = f"after round {n} {lost}, and no such update is averaged -> a smaller learning_rate helps; "
        endless += f"tell {config.aggregator}, who can launch the project anew under another name"
        notices.append(Notice(at.site.email, at.name, endless))
    keep_beside(at, n, update.extra, memory)
    info = {"round": n, "num_samples": num_samples, "loss": update.loss, "seconds": seconds}
    info |= {"steps": update.steps}
    hidden = {"loss", "seconds"} if at.strategy.quiet else set()
    hidden |= {"num_samples", "steps"} if at.strategy.hides_counts else set()
    said: dict[str, Any] = {
        k: v for k, v in info.items() if k not in hidden and v is not None and math.isfinite(v)
    }
    most, events = _INFO_BYTES, list[Event]()
    if update.validation is not None:
        most += most_text(config.task)
        said |= {"validation": asdict(update.validation)}
        texts = (_scores(update.validation.received), _scores(update.validation.trained))
        events = [UpdateValidated(at.site.email, at.name, n, update.validation.num_samples, *texts)]
    at.write(_info(place, n), json.dumps(said).ljust(most).encode())
    if config.signed:
        at.write(place.start(n), sha256_bytes(data).encode())
    at.set_state(model_train_progress=f"Training Completed for Round {n}")
    at.write_state(place.trained(n), update.state)  # last: it ends the training
    loss = losses[-1] if update.loss is None else update.loss
    trained = Trained(at.site.email, at.name, n, loss, num_samples, seconds)
    return [*notices, trained, *events]


def _scores(measured: Mapping[str, float]) -> str:
    told = [f"{name} {value:.3f}" for name, value in measured.items()]
    return ", ".join(told[:_FEW] + ["..."] * (len(told) > _FEW)) or "no number"


_FEW = 10
"""Numbers that a line shows."""


def share(at: AtParticipant, n: int) -> list[Event]:
    """Copy the update, and what it says about itself, into the aggregator's folder for this participant."""
    place, email, whom, start = at.place, at.site.email, at.config.aggregator, _start(at, n)
    if is_file(_info(place, n)):
        at.send(at.box.update_info(email, n), at.read(_info(place, n)), whom, n, start)
    if is_file(place.extra(n)):
        at.send(at.box.extra(email, n), at.read(place.extra(n)), whom, n, start)
    # last: the others are there when it is
    at.send(at.box.update(email, n), at.read(place.trained(n)), whom, n, start)
    return [UpdateShared(email, at.name, n)]


def is_shared(at: AtParticipant, n: int) -> bool:
    """Does the update lie there as it was shared; where others can write, with all that belongs to it?"""
    place, email, whom = at.place, at.site.email, at.config.aggregator
    if not same_content(place.trained(n), sent := at.box.update(email, n)):
        return False
    if not at.site.road.others_can_write:
        return True
    beside = {_info(place, n): at.box.update_info(email, n), place.extra(n): at.box.extra(email, n)}
    parts, start = [sent, *(there for own, there in beside.items() if is_file(own))], _start(at, n)
    return all(at.is_sent(path, whom, n, start) for path in parts)


def _start(at: AtParticipant, n: int) -> str:
    """SHA-256 of the global model that round n was trained from, where files are signed; "" where they are not."""
    if not at.config.signed:
        return ""
    try:
        return at.read(at.place.start(n), 64).decode("ascii")
    except (FileNotFoundError, UnicodeDecodeError):  # an older version did not keep it
        model = at.place.global_model(n - 1)
        return sha256_bytes(at.receive(model, at.config.aggregator, n - 1))


def trained_samples(place: ClientProject, n: int) -> int:
    """How many samples round n was trained on. Raises FedkitError if that is not known here."""
    num_samples = read_object(_info(place, n)).get("num_samples")
    if not isinstance(num_samples, int):
        raise FedkitError(
            "does not say how many samples were trained on",
            file=_info(place, n),
            remedy=f"remove {place.trained(n).name}: the round is then trained again",
        )
    return num_samples


def _info(place: ClientProject, n: int) -> Path:
    return place.path / "logs" / f"training_round_{n}.json"
