"""One run in memory: what the parameters of a sweep over `simulate` mean."""

from __future__ import annotations

import math
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes
from fedkit.base.seeds import generator
from fedkit.config.fl_config import FLConfig, first_problem
from fedkit.config.task import DIGITS
from fedkit.data.feature_shift import heterogeneity
from fedkit.data.folder import DataFolder, read_data_folder
from fedkit.data.label_skew import split_dirichlet, split_labels_each, split_shards, split_sizes
from fedkit.data.mnist import load_mnist
from fedkit.data.partition import split_iid, take
from fedkit.data.shards import Shard, as_float
from fedkit.experiments.table import BY_ROUND
from fedkit.learning.device import find_device
from fedkit.learning.models import SAMPLE_MODEL, seed_weights
from fedkit.learning.strategies.registry import make_strategy
from fedkit.rounds.history import History
from fedkit.rounds.rounds_to_target import rounds_to_reach
from fedkit.rounds.simulation import numbered_participants, simulate
from fedkit.rounds.trial_step import try_out

__all__ = ["OF_DIGITS", "Trial", "check_trial", "model_source", "run_trial"]


Count = Annotated[int, Field(strict=True, ge=1)]
OF_DIGITS = {"partition", "alpha", "shards_each", "labels_each", "images", "full"}
"""Which digits there are, and who gets them: says nothing of data of one's own."""
_NEEDS = {"dirichlet": "alpha", "sizes": "alpha", "labels": "labels_each"}


class Trial(BaseModel):
    """The parameters of one run of `simulate`. Frozen; every name and value is checked.

    participants, participants_per_round (None: all of them), rounds, epoch (local epochs), learning_rate, batch_size (or
    "all"), weighting, strategy, optimizer and schedule (a name, or a dict with name and parameters) : as in
    `fl_config.json`, and so is validation, a dict.
    partition : "iid"; "shards" (sorted by label, `shards_each` pieces each); "dirichlet" (labels, `alpha`); "labels"
    (`labels_each` digits each); "sizes" (equal mixtures, sizes by Dirichlet(`alpha`)).
    images : how many of the training images are dealt out, None for all. full : the full MNIST, not the sample.
    model : "tutorial" (784-128-10), "2nn" (784-200-200-10), or the path of a model.py.
    target : an accuracy (0..1) at which the run stops, None to run all rounds. seed : partition, first weights, everything.
    device : where it trains, such as "cuda".
    data_dir, data_sha256 : a data folder in the place of MNIST's digits, and its digest; its folders are the participants.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    participants: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 10
    participants_per_round: Count | None = None
    rounds: Count = 10
    epoch: Count = 1
    learning_rate: float = 0.1
    batch_size: Count | Literal["all"] = 10
    weighting: Literal["samples", "equal"] = "samples"
    strategy: str | dict[str, Any] = "fedavg"
    optimizer: str | dict[str, Any] | None = None
    schedule: str | dict[str, Any] | None = None
    validation: dict[str, Any] | None = None
    partition: Literal["iid", "shards", "dirichlet", "labels", "sizes"] = "iid"
    alpha: Annotated[float, Field(gt=0)] | None = None
    shards_each: Count = 2
    labels_each: Count | None = None
    images: Count | None = None
    full: bool = False
    model: str = "tutorial"
    target: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(strict=True, ge=0)] = 0
    device: str = "cpu"
    data_dir: str | None = None
    data_sha256: str | None = None

    def config(self, largest: int = 1) -> FLConfig:
        """The experiment as a config. largest : images of the largest shard, which is what batch_size "all" means."""
        values = self.model_dump(include=set(FLConfig.model_fields)) | {
            "project_name": "SWEEP",
            "aggregator": "aggregator@example.org",
            "participants": numbered_participants(self.participants),
            **self._of_data(),
            "batch_size": largest if self.batch_size == "all" else self.batch_size,
            "strategy": _named(self.strategy),
            "optimizer": _named(self.optimizer),
            "schedule": _named(self.schedule),
            "model_arch": "model.py",
            "model_weight": "weights.pt",
        }
        return FLConfig.from_dict(values, file="simulate")

    def _of_data(self) -> dict[str, Any]:
        own = self.data
        if own is None:
            return {}
        task = {} if own.task == DIGITS else {"task": own.task.model_dump(mode="json")}
        return {"participants": own.participants, **task}

    @property
    def data(self) -> DataFolder | None:
        """The data folder, as it was when the sweep was planned. Raises FedkitError where it has changed since."""
        if self.data_dir is None:
            return None
        own = _read_data(self.data_dir, self.data_sha256)
        if own.digest != self.data_sha256:
            remedy = "start the sweep again: what was run with the old data is run anew"
            raise FedkitError("has changed since", file=Path(self.data_dir), remedy=remedy)
        return own


@lru_cache(maxsize=2)
def _read_data(folder: str, digest: str | None) -> DataFolder:
    """A folder is read again where another digest is asked for."""
    return read_data_folder(Path(folder))


def _named(part: str | dict[str, Any] | None) -> dict[str, Any] | None:
    """A part of the config with its parameters; a name alone leaves them at their defaults."""
    return {"name": part} if isinstance(part, str) else part


def check_trial(values: dict[str, Any]) -> Trial:
    """A trial from its parameters by name. Raises FedkitError, naming the field, for a value that can't be run."""
    try:
        trial = Trial.model_validate(values)
    except ValidationError as error:
        problem = first_problem(error, "simulate")
        field = (problem.field or "").split(".")[0]
        raise FedkitError(problem.what, field=field, remedy=problem.remedy) from error
    needed = _NEEDS.get(trial.partition)
    if needed and getattr(trial, needed) is None:
        raise FedkitError(
            f"is missing for the partition {trial.partition!r}",
            field=needed,
            remedy=f"add {needed} to `fixed` or `grid`",
        )
    try:
        make_strategy(trial.config())
    except FedkitError as error:
        error.file = None  # there is no fl_config.json
        raise
    find_device(trial.device)
    task = DIGITS if trial.data is None else trial.data.task
    if trial.target is not None and "accuracy" not in task.metrics:
        raise FedkitError(
            "is an accuracy, and the task of these data has none",
            field="target",
            remedy='leave it out, or add "accuracy" to the metrics of task.json',
        )
    try:
        try_out(trial.config(largest=2), model_source(trial.model), file=trial.model)
    except FedkitError as error:
        if trial.model in _SAMPLES and task != DIGITS:
            error.field, error.remedy = "model", "name a model.py that is made for these data"
        raise
    return trial


_SAMPLES = ("tutorial", "2nn")


def model_source(name: str) -> str:
    """The source of a model: "tutorial", "2nn", or what lies at a path. Raises FedkitError if nothing does."""
    if name == "tutorial":
        return SAMPLE_MODEL
    if name == "2nn":
        sample = resources.files("fedkit").joinpath("learning/sample_models/model_2nn.py")
        return sample.read_text(encoding="utf-8")
    try:
        return read_bytes(Path(name), max_bytes=2**20).decode("utf-8", errors="replace")
    except FileNotFoundError:
        raise FedkitError(
            f"there is no {name}", field="model", remedy="tutorial, 2nn, or the path of a model.py"
        ) from None


def run_trial(trial: Trial) -> dict[str, Any]:
    """Run it; returns what is recorded.

    accuracy (0..1) and loss (nats) after the last round, best_accuracy, rounds_run, heterogeneity of the shards,
    accuracies and losses by round; with a target also rounds_to_target, None where it was not reached. Of data of one's own
    what the task's metrics are, each after the last round and by round; heterogeneity where the labels are classes.
    """
    shards, test, skew = _dealt(Trial(**trial.model_dump(include=_DEALT)))
    source, target = model_source(trial.model), trial.target

    def there(so_far: History) -> bool:
        return target is not None and (so_far.rounds[-1].accuracy or 0.0) >= target

    history = simulate(
        trial.config(largest=max(len(labels) for _, labels in shards)),
        shards,
        test,
        model=source,
        weights=seed_weights(source, trial.seed),
        until=there,
        device=trial.device,
        workers=1,
    )
    if len(history) < trial.rounds and not there(history):
        raise KeyboardInterrupt  # `simulate` gives back what it has; half a run is none
    accuracies = history.accuracies
    losses = [_finite(record.loss) for record in history]
    metrics = {name: [r.metrics.get(name) for r in history] for name in history.metrics}
    return {
        **({"accuracy": accuracies[-1], "best_accuracy": max(accuracies)} if accuracies else {}),
        **{name: values[-1] for name, values in metrics.items()},
        "loss": losses[-1],
        "rounds_run": len(history),
        **({} if skew is None else {"heterogeneity": skew}),
        **({"accuracies": accuracies} if accuracies else {}),
        **{f"{name}{BY_ROUND}": values for name, values in metrics.items()},
        "losses": losses,
        **({} if target is None else {"rounds_to_target": rounds_to_reach(accuracies, target)}),
    }


def _finite(loss: float | None) -> float | None:
    """A training that has blown up has no loss that a table could hold."""
    return loss if loss is not None and math.isfinite(loss) else None


_DEALT = {
    "participants",
    "partition",
    "alpha",
    "shards_each",
    "labels_each",
    "images",
    "full",
    "seed",
    "data_dir",
    "data_sha256",
}
"""What decides the shards; the rest of a trial is how they are trained on."""


@lru_cache(maxsize=2)  # many trials have the same shards, and those of the full set fill 190 MB
def _dealt(trial: Trial) -> tuple[list[Shard], Shard, float | None]:
    if trial.data is not None:
        own = trial.data
        shards = list(own.shards.values())
        skew = heterogeneity(shards, own.task.outputs) if own.task.labels == "classes" else None
        return shards, own.test, skew
    mnist = load_mnist(full=trial.full)
    draw = generator(trial.seed, "partition")
    images, labels, count = mnist.train_images, mnist.train_labels, trial.participants
    if trial.images is not None:
        (chosen,) = split_iid(labels, 1, trial.images, generator=draw)
        images, labels = images[chosen], labels[chosen]
    if trial.partition == "shards":
        parts = split_shards(labels, count, trial.shards_each, generator=draw)
    elif trial.partition == "dirichlet":
        parts = split_dirichlet(labels, count, trial.alpha or 1.0, generator=draw)
    elif trial.partition == "sizes":
        parts = split_sizes(labels, count, alpha=trial.alpha, generator=draw)
    elif trial.partition == "labels":
        parts = split_labels_each(labels, count, trial.labels_each or 1, generator=draw)
    else:
        parts = split_iid(labels, count, generator=draw)
    shards = take(images, labels, parts)
    return shards, (as_float(mnist.test_images), mnist.test_labels), heterogeneity(shards)
