"""fedkit's in-memory engine, in a fresh process as all others."""

from __future__ import annotations

import torch
from shared import BATCH, PARTICIPANTS, PER_ROUND, RATE, Report, arguments

import fedkit as fk
from fedkit.experiments.trial import model_source


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
        config,
        shards,
        (data["test_images"], data["test_labels"]),
        model=model_source("2nn"),
        until=watch,
    )
    report.tell("fedkit")


if __name__ == "__main__":
    main()
