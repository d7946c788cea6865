"""fedkit's in-memory engine, in a fresh process as all others."""

from __future__ import annotations

from pathlib import Path

from shared import Report, arguments

import fedkit as fk


def main() -> None:
    """All rounds."""
    work, rounds, _ = arguments()
    config = fk.FLConfig.from_dict(
        {
            "project_name": "FIELD",
            "aggregator": "aggregator@example.org",
            "participants": fk.numbered_participants(work.participants),
            "participants_per_round": work.per_round,
            "rounds": rounds,
            "epoch": 1,
            "learning_rate": work.rate,
            "batch_size": work.batch,
            "model_arch": "model.py",
            "model_weight": "weights.pt",
        }
        | ({"task": work.task} if work.task else {})
    )
    report = Report()

    def watch(history: fk.History) -> bool:
        report.round(history.rounds[-1].accuracy)
        return False

    fk.simulate(
        config,
        list(zip(work.samples, work.labels, strict=True)),
        (work.test_samples, work.test_labels),
        model=Path(work.folder, "model.py").read_text(encoding="utf-8"),
        weights=work.weights,
        until=watch,
    )
    report.tell("fedkit-course")


if __name__ == "__main__":
    main()
