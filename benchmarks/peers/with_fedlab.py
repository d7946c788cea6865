"""FedLab: its standalone pipeline, a serial trainer in this process."""

from __future__ import annotations

from fedlab.contrib.algorithm.fedavg import FedAvgSerialClientTrainer, FedAvgServerHandler
from fedlab.core.standalone import StandalonePipeline
from shared import Report, Work, arguments, loss


class Shards:
    """FedLab asks it for a participant's batches. Ready tensors are faster than the DataLoader of its examples."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def get_dataloader(self, participant: int, batch_size: int):
        """Batches in a new order."""
        assert batch_size == self.work.batch
        return self.work.shuffled(participant)


class Pipeline(StandalonePipeline):
    """FedLab's own loop, with an evaluation after each round."""

    def __init__(self, handler, trainer, work: Work, report: Report) -> None:
        super().__init__(handler, trainer)
        self.work, self.report = work, report

    def evaluate(self) -> None:
        """On the test set."""
        self.report.round(self.work.accuracy(self.handler.model))


def main() -> None:
    """All rounds."""
    work, rounds, _ = arguments()
    report = Report()
    trainer = FedAvgSerialClientTrainer(work.model(), work.participants, cuda=False)
    trainer.setup_dataset(Shards(work))
    trainer.setup_optim(1, work.batch, work.rate)
    trainer.criterion = loss  # FedLab's own is the cross entropy of classes alone
    share = work.per_round / work.participants
    handler = FedAvgServerHandler(work.model(), rounds, share, cuda=False)
    Pipeline(handler, trainer, work, report).main()
    report.tell("fedlab")


if __name__ == "__main__":
    main()
