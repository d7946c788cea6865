"""fedkit's in-memory engine, in a fresh process as all others."""

from __future__ import annotations

import torch
from shared import BATCH, PARTICIPANTS, PER_ROUND, RATE, Report, arguments

import fedkit as fk

MODEL = """
from torch import nn


class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)
        )

    def forward(self, images):
        return self.net(images)
"""


def main() -> None:
    """All rounds."""
    data, rounds, _ = arguments()
    config = fk.FLConfig.from_dict(
        {
            "project_name": "FIELD",
            "aggregator": "aggregator@example.org",
            "participants": fk.numbered_participants(PARTICIPANTS),
            "participants_per_round": PER_ROUND,
            "rounds": rounds,
            "epoch": 1,
            "learning_rate": RATE,
            "batch_size": BATCH,
            "model_arch": "model.py",
            "model_weight": "weights.pt",
        }
    )
    report = Report()

    def watch(history: fk.History) -> bool:
        report.round(history.rounds[-1].accuracy)
        return False

    shards: list[tuple[torch.Tensor, torch.Tensor]] = list(
        zip(data["images"], data["labels"], strict=True)
    )
    fk.simulate(
        config, shards, (data["test_images"], data["test_labels"]), model=MODEL, until=watch
    )
    report.tell("fedkit")


if __name__ == "__main__":
    main()
