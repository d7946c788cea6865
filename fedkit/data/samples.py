"""What the tutorial's walk-through copies around: sample digits, a test set, a model, its weights and a config."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from fedkit.base.errors import FedkitError, Unreadable
from fedkit.base.files import read_bytes, write_bytes, write_dataset, write_state
from fedkit.config.fl_config import FLConfig
from fedkit.data.mnist import load_mnist
from fedkit.data.shards import as_float, write_shard
from fedkit.learning.models import SAMPLE_MODEL, seed_weights

__all__ = ["write_samples"]

AGGREGATOR = "aggregator@example.org"
PARTICIPANTS = ("alice@example.org", "bob@example.org")
PER_DIGIT = 800  # as in the tutorial


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
    config = {
        "project_name": "MNIST_FL",
        "aggregator": aggregator,
        "participants": list(participants),
        "rounds": 3,
        "model_arch": "model.py",
        "model_weight": "global_model_weight.pt",
        "epoch": 10,
        "learning_rate": 0.1,
    }
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
