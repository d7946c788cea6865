"""Small projects about other data than digits: a task, samples, labels, and a model.py that fits them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fedkit.config.fl_config import FLConfig
from fedkit.config.task import Task
from fedkit.data.shards import Shard
from tests.support.helpers import AGGREGATOR, ALICE, BOB, PROJECT

_HEAD = """import torch
from torch import nn
from torch.nn import functional as F


class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
"""


def source(parts: str, forward: str) -> str:
    """A model.py from the lines of its constructor and of its forward(x)."""
    lines = [f"        {line.strip()}" for line in parts.strip().splitlines()]
    body = [f"        {line.strip()}" for line in forward.strip().splitlines()]
    return _HEAD + "\n".join(lines) + "\n\n    def forward(self, x):\n" + "\n".join(body) + "\n"


@dataclass(frozen=True)
class Kind:
    """A task with a model and 90 samples: 35 each for two participants, 20 to test."""

    written: dict[str, Any]
    samples: Tensor
    labels: Tensor
    model: str

    @property
    def task(self) -> Task:
        return Task.model_validate(self.written)

    @property
    def shards(self) -> list[Shard]:
        return [(self.samples[a : a + 35], self.labels[a : a + 35]) for a in (0, 35)]

    @property
    def test(self) -> Shard:
        return self.samples[70:], self.labels[70:]

    def config(self, **changes: Any) -> FLConfig:
        values = {
            "project_name": PROJECT,
            "aggregator": AGGREGATOR,
            "participants": [ALICE, BOB],
            "rounds": 2,
            "epoch": 1,
            "learning_rate": 0.1,
            "batch_size": 16,
            "model_arch": "model.py",
            "model_weight": "weights.pt",
            "task": self.written,
        }
        return FLConfig.from_dict(values | changes)


def _kinds() -> dict[str, Kind]:
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(90, 30, generator=generator)
    true = table @ torch.randn(30, generator=generator)
    colours = torch.rand(90, 3, 8, 8, generator=generator)
    nine = (colours.flatten(1).mean(1) * 1000).long() % 9
    grey = torch.rand(90, 1, 28, 28, generator=generator)
    text = torch.randint(1, 50, (90, 12), generator=generator)
    text[:, 8:] = 0
    vectors = {"samples": "vectors", "shape": [30]}
    line = source("self.fc = nn.Linear(30, 1)", "return self.fc(x)")
    return {
        "a table": Kind(
            {
                **vectors,
                "loss": "bce_with_logits",
                "metrics": ["accuracy", "balanced_accuracy", "auc"],
            },
            table,
            (true > 0).float(),
            line,
        ),
        "a regression": Kind(
            {**vectors, "loss": "mse", "metrics": ["mae", "rmse", "r2"]},
            table,
            true / 10,
            source("self.fc = nn.Linear(30, 1)", "return self.fc(x).squeeze(1)"),
        ),
        "two numbers": Kind(
            {**vectors, "loss": "huber", "outputs": 2},
            table,
            torch.stack([true, -true], 1) / 10,
            source("self.fc = nn.Linear(30, 2)", "return self.fc(x)"),
        ),
        "three answers of yes or no": Kind(
            {**vectors, "loss": "bce_with_logits", "outputs": 3, "class_weights": [1, 2, 3]},
            table,
            (table[:, :3] > 0).float(),
            source("self.fc = nn.Linear(30, 3)", "return self.fc(x)"),
        ),
        "colour images": Kind(
            {
                "shape": [3, 8, 8],
                "outputs": 9,
                "class_names": [f"c{n}" for n in range(9)],
                "class_weights": [1, 1, 1, 2, 1, 1, 1, 1, 1],
                "metrics": ["accuracy", "recall"],
            },
            colours,
            nine,
            source(
                """self.conv = nn.Conv2d(3, 4, 3)
                self.norm = nn.BatchNorm2d(4)
                self.drop = nn.Dropout(0.2)
                self.fc = nn.Linear(36, 9)""",
                """x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
                return self.fc(self.drop(x.flatten(1)))""",
            ),
        ),
        "nine classes of grey images": Kind(
            {"outputs": 9},
            grey,
            torch.randint(9, (90,), generator=generator),
            source("self.fc = nn.Linear(784, 9)", "return self.fc(x.flatten(1))"),
        ),
        "text": Kind(
            {"samples": "tokens", "shape": [12], "vocabulary": 50, "padding": 0, "outputs": 3},
            text,
            text[:, 0] % 3,
            source(
                """self.embed = nn.Embedding(50, 8, padding_idx=0)
                self.lstm = nn.LSTM(8, 8, batch_first=True)
                self.fc = nn.Linear(8, 3)""",
                """out, _ = self.lstm(self.embed(x))
                there = (x != 0).unsqueeze(2)
                return self.fc((out * there).sum(1) / there.sum(1).clamp(min=1))""",
            ),
        ),
    }


KINDS = _kinds()
