"""One round at the participant: train from the global model on private data, keep the update, share a copy of it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedkit.base.errors import FedkitError, Unreadable
from fedkit.base.events import PARTICIPANT, Event, Progress, Trained, UpdateShared, Waiting
from fedkit.base.files import (
    is_file,
    read_bytes,
    read_json,
    read_state,
    write_bytes,
    write_json,
    write_state,
)
from fedkit.base.seeds import generator
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import read_shard
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import ClientProject
from fedkit.learning.models import check_state, load_model, state_of
from fedkit.learning.strategies.base import LocalRun
from fedkit.learning.strategies.registry import make_strategy
from fedkit.learning.training import local_steps, trained_names
from fedkit.privacy.dp.policy import spend
from fedkit.privacy.dp.training import keeps_quiet, trainer
from fedkit.protocol.steps import Next
from fedkit.protocol.strategy_payload import keep_beside, receive, share_beside

__all__ = ["set_state", "share", "train_step", "trained_samples"]

_INFO_BYTES = 256
"""Size of what an update says about itself: always the same, so that the size says nothing."""


def train_step(
    site: Datasite,
    place: ClientProject,
    config: FLConfig,
    source: bytes,
    n: int,
    on_epoch: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Next:
    """Train round n; a global model that can't be read yet is waited for."""
    path = place.global_model(n - 1)
    try:
        start = read_state(path, root=site.data_dir)
    except (Unreadable, FileNotFoundError) as error:
        return Waiting(
            site.email,
            place.path.name,
            PARTICIPANT,
            config.aggregator,
            f"send a readable global model ({error})",
        )

    beside = receive(site, place, config, start, n)
    if beside is None:
        what = f"send {place.extra_for(n).name}, which its strategy needs beside the global model"
        return Waiting(site.email, place.path.name, PARTICIPANT, config.aggregator, what)
    terms = make_strategy(config).terms(beside.sent, beside.memory)

    def do() -> list[Event]:
        project, began = config.project_name, time.perf_counter()
        model = load_model(source, config.model_class_name, file=place.path / config.model_arch)
        wrong = check_state(state_of(model), start)
        if wrong:
            raise FedkitError(
                f"does not fit the model: {wrong}",
                file=path,
                remedy="ask the aggregator to check its weights",
            )
        shard = read_shard(site.private_client)
        spend(site, config, n, shard, start)  # before the training that spends it
        num_samples, lines = len(shard[1]), [f"Round {n}: {len(shard[1])} samples\n"]
        told = {} if config.secure_aggregation else {"num_samples": num_samples}
        started = f"Training Started for Round {n}"
        set_state(site, place, dataset_added=True, model_train_progress=started, **told)

        def after_epoch(epoch: int, loss: float) -> None:
            lines.append(f"Epoch {epoch:02d}: Loss = {loss:.6f}\n")
            write_bytes(place.training_log(n), "".join(lines).encode(), root=site.data_dir)
            progress = f"Training InProgress for Round {n} (Curr Epoc: {epoch}/{config.epoch})"
            set_state(site, place, model_train_progress=progress)
            if on_epoch is not None:
                on_epoch(project, n, epoch, config.epoch, loss)

        trained, losses = trainer(config, site.email, n)(
            model,
            start,
            shard,
            epochs=config.epoch,
            learning_rate=config.learning_rate,
            batch_size=config.batch_size,
            generator=generator(config.seed, site.email, n),
            on_epoch=after_epoch,
            stop=stop,
            mu=terms.mu,
            shift=terms.shift,
        )
        seconds = time.perf_counter() - began
        steps = local_steps(num_samples, config.epoch, config.batch_size)
        first, last = ({k: s[k] for k in trained_names(model)} for s in (start, trained))
        run = LocalRun(first, last, steps, config.learning_rate, beside.sent, beside.memory)
        keep_beside(site, place, config, n, run)
        info = {"round": n, "num_samples": num_samples, "loss": losses[-1], "seconds": seconds}
        info["steps"] = steps
        hidden = {"loss", "seconds"} if keeps_quiet(config) else set()
        said = {k: v for k, v in info.items() if math.isfinite(v) and k not in hidden}  # as JSON is
        line = json.dumps(said).ljust(_INFO_BYTES).encode()
        write_bytes(_info(place, n), line, root=site.data_dir)
        set_state(site, place, model_train_progress=f"Training Completed for Round {n}")
        write_state(place.trained(n), trained, root=site.data_dir)  # last: it ends the training
        return [Trained(site.email, project, n, losses[-1], num_samples, seconds)]

    return do


def share(site: Datasite, place: ClientProject, config: FLConfig, n: int) -> list[Event]:
    """Copy the update, and what it says about itself, into the aggregator's folder for this participant."""
    box = site.aggregator(config.aggregator).project(config.project_name)
    if is_file(_info(place, n)):
        write_bytes(box.update_info(site.email, n), read_bytes(_info(place, n)), root=site.data_dir)
    share_beside(site, place, box, site.email, n)
    write_bytes(box.update(site.email, n), read_bytes(place.trained(n)), root=site.data_dir)
    return [UpdateShared(site.email, config.project_name, n)]


def trained_samples(place: ClientProject, n: int) -> int:
    """How many samples round n was trained on. Raises FedkitError if that is not known here."""
    info = read_json(_info(place, n))
    if not isinstance(info, dict) or not isinstance(info.get("num_samples"), int):
        raise FedkitError(
            "does not say how many samples were trained on",
            file=_info(place, n),
            remedy=f"remove {place.trained(n).name}: the round is then trained again",
        )
    return int(info["num_samples"])


def set_state(site: Datasite, place: ClientProject, **changes: Any) -> None:
    """Change some keys of `state.json`; the others stay."""
    state = read_json(place.state)
    values = (state if isinstance(state, dict) else {}) | changes
    write_json(place.state, values, root=site.data_dir)


def _info(place: ClientProject, n: int) -> Path:
    return place.path / "logs" / f"training_round_{n}.json"
