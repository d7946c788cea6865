"""fluke: its FedAVG with server and clients in this process, its own fast loader, accuracy as the only metric."""

from __future__ import annotations

import torch
from fluke import DDict, FlukeENV
from fluke.algorithms.fedavg import FedAVG
from fluke.data import DummyDataContainer, FastDataLoader
from fluke.evaluation import ClassificationEval
from fluke.utils import FederationObserver
from shared import Report, arguments, loss, right
from torch import nn


class Loss(nn.Module):
    """fluke makes an object of it."""

    def forward(self, answers, labels):
        """The task's mean loss."""
        return loss(answers, labels)


class Accuracy:
    """The three methods of torchmetrics' that fluke calls, for classes and for yes-or-no labels."""

    def reset(self) -> None:
        """Nothing seen yet."""
        self.right = self.seen = 0

    def update(self, answers, labels) -> None:
        """A batch."""
        self.right += right(answers, labels)
        self.seen += len(labels)

    def compute(self) -> torch.Tensor:
        """The share that is right."""
        return torch.tensor(self.right / self.seen)


class Watch(FederationObserver):
    """Is told of each evaluation by fluke's loop."""

    def __init__(self, report: Report, rounds: int) -> None:
        self.report, self.rounds = report, rounds

    def server_evaluation(self, round: int, eval_type: str, evals, **others) -> None:
        """A round's evaluation is done; fluke evaluates once more at its very end, which is no round."""
        if len(self.report.ends) < self.rounds:
            self.report.round(evals["accuracy"])


class Data(DummyDataContainer):
    """Shards that are already split; fluke's splitter hands them on as they are."""

    def assign(self, participants: int, batch_size: int):
        """What a DataSplitter gives."""
        return (self.clients_tr, self.clients_te), self.server_data


def main() -> None:
    """All rounds."""
    work, rounds, _ = arguments()
    classes = int(work.labels.max()) + 1
    environment = FlukeENV()
    environment.set_seed(0)
    environment.set_evaluator(ClassificationEval(1, classes, accuracy=Accuracy()))
    loaders = [
        FastDataLoader(samples, labels, num_labels=classes, batch_size=work.batch, shuffle=True)
        for samples, labels in zip(work.samples, work.labels, strict=True)
    ]
    test = FastDataLoader(
        work.test_samples,
        work.test_labels,
        num_labels=classes,
        batch_size=len(work.test_labels),
        shuffle=False,
    )
    settings = DDict(
        client=DDict(
            batch_size=work.batch,
            local_epochs=1,
            loss=Loss,
            optimizer=DDict(name="SGD", lr=work.rate),
            scheduler=DDict(name="StepLR", step_size=1, gamma=1),
        ),
        server=DDict(weighted=True),
        model=work.model(),
    )
    container = Data(loaders, [None] * work.participants, test, num_classes=classes)
    report = Report()
    algorithm = FedAVG(work.participants, container, settings)
    algorithm.set_callbacks([Watch(report, rounds)])
    algorithm.run(rounds, work.per_round / work.participants)
    report.tell("fluke-fl")


if __name__ == "__main__":
    main()
