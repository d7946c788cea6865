"""FedLab: its standalone pipeline, a serial trainer in this process."""

from __future__ import annotations

from fedlab.contrib.algorithm.fedavg import FedAvgSerialClientTrainer, FedAvgServerHandler
from fedlab.core.standalone import StandalonePipeline
from shared import (
    BATCH,
    PARTICIPANTS,
    PER_ROUND,
    RATE,
    Report,
    TwoNN,
    accuracy,
    arguments,
    shuffled,
)


class Shards:
    """FedLab asks it for a participant's batches. Ready tensors are faster than the DataLoader of its examples."""

    def __init__(self, data) -> None:
        self.data = data

    def get_dataloader(self, participant: int, batch_size: int):
        """Batches in a new order."""
        assert batch_size == BATCH
        return shuffled(self.data["images"][participant], self.data["labels"][participant])


class Pipeline(StandalonePipeline):
    """FedLab's own loop, with an evaluation after each round."""

    def __init__(self, handler, trainer, data, report: Report) -> None:
        super().__init__(handler, trainer)
        self.data, self.report = data, report

    def evaluate(self) -> None:
        """On the test set."""
        self.report.round(accuracy(self.handler.model, self.data))


def main() -> None:
    """All rounds."""
    data, rounds, _ = arguments()
    report = Report()
    trainer = FedAvgSerialClientTrainer(TwoNN(), PARTICIPANTS, cuda=False)
    trainer.setup_dataset(Shards(data))
    trainer.setup_optim(1, BATCH, RATE)
    handler = FedAvgServerHandler(TwoNN(), rounds, PER_ROUND / PARTICIPANTS, cuda=False)
    Pipeline(handler, trainer, data, report).main()
    report.tell("fedlab")


if __name__ == "__main__":
    main()
