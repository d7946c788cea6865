"""What every script of this folder needs: the same model, the same shards, and one way to report the rounds.

These scripts run in environments of their own, so they import torch and their framework, nothing of this project. The
arguments are: a folder with `shards.pt` and `model.py`, the number of rounds, and the number of torch's threads in a
process.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Work:
    """What is in `shards.pt`.

    samples : float32 or int64 [participants, N, ...]. labels : [participants, N], int64 classes or float32 0 and 1.
    test_samples, test_labels : the same without the first dimension. task : as fedkit wants it.
    """

    folder: str
    samples: Tensor
    labels: Tensor
    test_samples: Tensor
    test_labels: Tensor
    weights: dict[str, Tensor]
    participants: int
    per_round: int
    batch: int
    rate: float
    task: dict

    def model(self) -> nn.Module:
        """The FLModel of the folder's model.py, with the weights that all start from."""
        spec = importlib.util.spec_from_file_location("model", Path(self.folder, "model.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules["model"] = module  # so that what is pickled finds it
        spec.loader.exec_module(module)
        model = module.FLModel()
        model.load_state_dict(self.weights)
        return model

    def shuffled(self, participant: int) -> list[tuple[Tensor, Tensor]]:
        """Batches of a shard in a new order: the fastest loader that we know."""
        labels = self.labels[participant]
        order = torch.randperm(len(labels))
        samples, labels = self.samples[participant][order], labels[order]
        return list(zip(samples.split(self.batch), labels.split(self.batch), strict=True))

    @torch.no_grad()
    def accuracy(self, model: nn.Module) -> float:
        """Share of the test set that is right."""
        return right(model(self.test_samples), self.test_labels) / len(self.test_labels)


def loss(answers: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy; where labels are 0.0 and 1.0, the binary one, of logits."""
    if labels.is_floating_point():
        return F.binary_cross_entropy_with_logits(answers.reshape(labels.shape), labels)
    return F.cross_entropy(answers, labels)


def right(answers: Tensor, labels: Tensor) -> int:
    """How many answers are right."""
    if labels.is_floating_point():
        return ((answers.reshape(labels.shape) > 0) == (labels > 0)).sum().item()
    return (answers.argmax(1) == labels).sum().item()


def load(folder: str) -> Work:
    """The tensors are mapped into memory, not read."""
    return Work(folder, **torch.load(Path(folder, "shards.pt"), mmap=True, weights_only=True))


def arguments() -> tuple[Work, int, int]:
    """The work, the rounds, the threads; torch is set to so many."""
    rounds, threads = int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return load(sys.argv[1]), rounds, threads


class Report:
    """When each round ended, evaluation included, and its accuracy. Made right before the framework is called."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.ends: list[float] = []
        self.accuracies: list[float] = []

    def round(self, value: float) -> None:
        """A round is over."""
        self.ends.append(time.monotonic())
        self.accuracies.append(value)

    def tell(self, *packages: str) -> None:
        """One line of JSON for the benchmark."""
        took = time.monotonic() - self.began
        versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
        told = {"call": took, "ends": self.ends, "accuracy": self.accuracies[-1]}
        print(f"\n{json.dumps(told | {'versions': versions})}", flush=True)
