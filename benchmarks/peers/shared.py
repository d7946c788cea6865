"""What every script of this folder needs: the same model, the same shards, and one way to report the rounds.

These scripts run in environments of their own, so they import torch and their framework, nothing of this project. The
arguments are: the file of the shards, the number of rounds, and the number of torch's threads in a process.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import metadata

import torch
from torch import nn

PARTICIPANTS, PER_ROUND, BATCH, RATE = 100, 10, 10, 0.1


class TwoNN(nn.Module):
    """784-200-200-10, the paper's 2NN."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(784, 200),
            nn.ReLU(),
            nn.Linear(200, 200),
            nn.ReLU(),
            nn.Linear(200, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [B,10] of images [B,1,28,28]."""
        return self.net(images)


def arguments() -> tuple[dict[str, torch.Tensor], int, int]:
    """The data (mapped into memory, not read), the rounds, the threads; torch is set to so many."""
    rounds, threads = int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return shards(sys.argv[1]), rounds, threads


def shards(path: str) -> dict[str, torch.Tensor]:
    """images [100,600,1,28,28], labels [100,600], test_images [N,1,28,28], test_labels [N]."""
    return torch.load(path, mmap=True, weights_only=True)


@torch.no_grad()
def accuracy(model: nn.Module, data: dict[str, torch.Tensor]) -> float:
    """Share of the test set that is right."""
    guess = model(data["test_images"]).argmax(1)
    return (guess == data["test_labels"]).float().mean().item()


def shuffled(images: torch.Tensor, labels: torch.Tensor):
    """Batches of a shard in a new order: the fastest loader that we know."""
    order = torch.randperm(len(labels))
    images, labels = images[order], labels[order]
    return list(zip(images.split(BATCH), labels.split(BATCH), strict=True))


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
