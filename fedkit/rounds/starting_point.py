"""What a run starts from: config, model, seed weights, and the digits dealt out to the participants.

`fedkit run` reads it as an `Experiment`; `fedkit data samples` writes the same as files, which the tutorial's
walk-through copies around: sample digits, a test set, a model, its weights and a config.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError, Unreadable
from fedkit.base.files import (
    read_bytes,
    read_state,
    sha256_bytes,
    write_bytes,
    write_dataset,
    write_state,
)
from fedkit.base.seeds import generator
from fedkit.base.strict_json import parse_json_object
from fedkit.base.tensors import state_bytes
from fedkit.base.text import how_many
from fedkit.config.fl_config import FLConfig, likely_key
from fedkit.config.task import DIGITS, Task
from fedkit.config.tutorial import AGGREGATOR, PARTICIPANTS, tutorial_keys, tutorial_participants
from fedkit.data.folder import DataFolder, read_data_folder
from fedkit.data.mnist import load_mnist
from fedkit.data.partition import split_by_digits, split_iid, take
from fedkit.data.shards import Shard, as_float, write_shard
from fedkit.data.standardise import stated
from fedkit.learning.model_file import source_text
from fedkit.learning.models import (
    SAMPLE_MODEL,
    StateDict,
    fitting_model,
    seed_weights,
)
from fedkit.learning.strategies.registry import make_strategy
from fedkit.rounds.trial_step import try_out

__all__ = ["Experiment", "deal", "even_groups", "read_experiment", "unknown_keys", "write_samples"]


PER_DIGIT = 800  # as in the tutorial
_DIGITS = 10


@dataclass(frozen=True)
class Experiment:
    """Everything that decides the result.

    model : source of model.py. weights : global model 0. partition : "digits" or "iid". full : all of MNIST's images.
    data : one's own, in the place of MNIST's.
    """

    config: FLConfig
    model: str
    weights: StateDict
    partition: str
    full: bool
    data: DataFolder | None = None

    def identity(self, app_data: str) -> dict[str, Any]:
        """What tells this run from another one, as JSON values."""
        dealt = {"partition": self.partition, "full": self.full}
        if self.data is not None:
            dealt = {"data_sha256": self.data.digest}
        return {
            "config": json.loads(self.config.to_json()),
            **dealt,
            "app_data": app_data,
            "model_sha256": sha256_bytes(self.model.encode()),
            "weights_sha256": sha256_bytes(state_bytes(self.weights)),
        }


def read_experiment(
    path: Path | None,
    *,
    participants: int | None,
    changes: dict[str, Any],
    partition: str | None,
    full: bool,
    data: Path | None = None,
) -> Experiment:
    """The experiment of a config file, or the tutorial's where `path` is None, with some keys changed.

    `model_arch` and `model_weight` are read from beside the config where they lie there, else they are the sample
    model and its weights from the config's seed. partition : by default, digits for up to ten participants, iid for more.
    data : a data folder; its task and its participants are the project's where no config says otherwise. Raises
    FedkitError, and writes nothing.
    """
    own = None if data is None else read_data_folder(data, _task_of(path))
    if path is None:
        emails = tutorial_participants(participants or len(PARTICIPANTS))
        if own is not None:
            emails = own.participants
        values, where = tutorial_keys(emails), Path("fl_config.json")
    else:
        content = read_bytes(path, max_bytes=2**20, absent="check the path")
        values, where = parse_json_object(content, path), path
    if own is not None and own.task != DIGITS:
        values = {"task": own.task.model_dump(mode="json")} | values
    config = FLConfig.from_dict(values | changes, file=where)
    count = len(config.participants)
    if own is not None and len(own.shards) != count:
        raise FedkitError(
            f"names {how_many(count, 'participant')}, and there is data of {len(own.shards)} ({', '.join(own.shards)})",
            file=where,
            field="participants",
            remedy=f"name as many as {data}/shards has folders",
        )
    if own is not None and own.named and set(own.shards) != set(config.participants):
        stray = next(name for name in own.shards if name not in config.participants)
        raise FedkitError(
            f"does not name {stray}, whose data lies in {data}/shards",
            file=where,
            field="participants",
            remedy="name the same e-mails in both, or give the folders other names to have them dealt out in their order",
        )
    if participants is not None and participants != count:
        raise FedkitError(
            f"names {how_many(count, 'participant')}, not {participants}",
            file=where,
            field="participants",
            remedy="leave out --participants, or change the list",
        )
    make_strategy(config)  # one that does not exist is said here, before any folder is made
    model, weights = _model(config, path.parent if path is not None else None)
    fitting = "digits" if count <= _DIGITS else "iid"
    found = Experiment(config, model, weights, partition or fitting, full, own)
    if config.task.standardise != "federated":
        return found
    return replace(found, config=stated(config, deal(found)[0]))


def _task_of(path: Path | None) -> Task | None:
    """The task that a config file itself names."""
    if path is None:
        return None
    values = parse_json_object(read_bytes(path, max_bytes=2**20, absent="check the path"), path)
    return FLConfig.from_dict(values, file=path).task if "task" in values else None


def unknown_keys(config: FLConfig) -> dict[str, str | None]:
    """Keys that fedkit does not know, each with the known name that is nearest, if one is near."""
    return {key: likely_key(key) for key in config.unknown}


def even_groups(participants: int) -> list[list[int]]:
    """The ten digits in order, in groups whose sizes differ by one at most.

    Raises FedkitError if there are more participants than digits.
    """
    if not 1 <= participants <= _DIGITS:
        raise FedkitError(
            f"ten digits can't be split between {participants} participants",
            field="partition",
            remedy="use at most 10 participants, or --partition iid",
        )
    groups = torch.arange(10).tensor_split(participants)
    return [group.tolist() for group in groups]


def deal(experiment: Experiment) -> tuple[list[Shard], tuple[Tensor, Tensor]]:
    """One shard a participant, and the test set: pairs (samples, labels), for digits images float32 [N,1,28,28], int64 [N].

    From the data folder, where there is one: by e-mail, or in the order of its folders' names. Else MNIST's:
    800 images a digit, the same 8,000 whatever the partition and the number of participants; with `full`, all there are.
    """
    if experiment.data is not None:
        shards = experiment.data.shards
        by_name = set(shards) == set(experiment.config.participants)
        ordered = experiment.config.participants if by_name else shards
        return [shards[name] for name in ordered], experiment.data.test
    config, mnist = experiment.config, load_mnist(full=True if experiment.full else None)
    images, labels, count = mnist.train_images, mnist.train_labels, len(config.participants)
    groups = even_groups(count) if experiment.partition == "digits" else [list(range(10))]
    per_digit = None if experiment.full else PER_DIGIT
    draw = generator(config.seed, "partition")
    parts = split_by_digits(labels, groups, per_digit, generator=draw)
    if experiment.partition == "iid":
        (chosen,) = parts
        parts = [chosen[p] for p in split_iid(labels[chosen], count, generator=draw)]
    return take(images, labels, parts), (as_float(mnist.test_images), mnist.test_labels)


def _model(config: FLConfig, folder: Path | None) -> tuple[str, StateDict]:
    """Source and seed weights, tried and checked against each other before anything is written."""
    source, file = SAMPLE_MODEL, Path(config.model_arch)
    if folder is not None and (folder / config.model_arch).exists():
        file = folder / config.model_arch
        source = source_text(read_bytes(file, max_bytes=2**20), file)
    try_out(config, source, file=file)
    if folder is None or not (folder / config.model_weight).exists():
        return source, seed_weights(source, config.seed, config.model_class_name)
    weights = read_state(folder / config.model_weight)
    fitting_model(
        *(source, weights, config.model_class_name),
        file=file,
        what=config.model_arch,
        weights=folder / config.model_weight,
        field="model_weight",
        remedy="save it with torch.save(FLModel().state_dict(), path), or remove it",
        task=config.task,
    )
    return source, weights


def write_samples(
    out: Path,
    *,
    aggregator: str = AGGREGATOR,
    participants: Sequence[str] = PARTICIPANTS,
    force: bool = False,
) -> list[Path]:
    """Write the tutorial's fourteen files into the folder `out`; returns those that were not there yet as they are.

    mnist_label_0.pt to mnist_label_9.pt: the first 800 training images of each digit; mnist_test_dataset.pt: the
    sample's 2,000 test images; model.py and global_model_weight.pt: the 784-128-10 model as it starts from seed 0;
    fl_config.json: the tutorial's eight keys. The same call gives the same bytes.

    Raises FedkitError, before anything is written, if a file of the same name has another content and `force` is not
    set, or an e-mail is none.
    """
    out = Path(out)
    config = tutorial_keys(participants, aggregator)
    checked = FLConfig.from_dict(config, file=out / "fl_config.json")
    contents = {
        checked.model_arch: SAMPLE_MODEL.encode(),
        **_tensor_files(checked),
        # last, as a launch needs it: the config says that all is there
        "fl_config.json": (json.dumps(config, indent=4) + "\n").encode(),
    }
    states = {name: _there(out / name, data) for name, data in contents.items()}
    for name, same in states.items():
        if same is False and not force:
            raise FedkitError(
                "is there already, with another content; nothing was written",
                file=out / name,
                remedy="choose another folder, or write over it with --force",
            )
    for name, data in contents.items():
        if not states[name]:
            write_bytes(out / name, data)
    return [out / name for name in sorted(contents) if not states[name]]


def _tensor_files(config: FLConfig) -> dict[str, bytes]:
    """Name -> content of the data files and the weights, made with the package's own writers."""
    mnist = load_mnist()
    labels = mnist.train_labels
    first = torch.cat([torch.nonzero(labels == d).flatten()[:PER_DIGIT] for d in range(10)])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shard(folder, (as_float(mnist.train_images[first]), labels[first]))
        write_dataset(folder / config.test_dataset, as_float(mnist.test_images), mnist.test_labels)
        write_state(folder / config.model_weight, seed_weights(SAMPLE_MODEL))
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _there(path: Path, data: bytes) -> bool | None:
    """True if `path` holds exactly `data`, False if it holds anything else, None if it is not there."""
    try:
        return read_bytes(path, max_bytes=len(data)) == data
    except FileNotFoundError:
        return None
    except Unreadable:
        return False
