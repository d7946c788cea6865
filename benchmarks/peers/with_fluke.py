"""fluke: its FedAVG with server and clients in this process, its own fast loader, accuracy as the only metric."""

from __future__ import annotations

from fluke import DDict, FlukeENV
from fluke.algorithms.fedavg import FedAVG
from fluke.data import DummyDataContainer, FastDataLoader
from fluke.evaluation import Accuracy, ClassificationEval
from fluke.utils import FederationObserver
from shared import BATCH, PARTICIPANTS, PER_ROUND, RATE, Report, TwoNN, arguments
from torch.nn import CrossEntropyLoss


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
    data, rounds, _ = arguments()
    environment = FlukeENV()
    environment.set_seed(0)
    environment.set_evaluator(
        ClassificationEval(1, 10, accuracy=Accuracy(task="multiclass", num_classes=10, top_k=1))
    )
    loaders = [
        FastDataLoader(images, labels, num_labels=10, batch_size=BATCH, shuffle=True)
        for images, labels in zip(data["images"], data["labels"], strict=True)
    ]
    test = FastDataLoader(
        data["test_images"],
        data["test_labels"],
        num_labels=10,
        batch_size=len(data["test_labels"]),
        shuffle=False,
    )
    settings = DDict(
        client=DDict(
            batch_size=BATCH,
            local_epochs=1,
            loss=CrossEntropyLoss,
            optimizer=DDict(name="SGD", lr=RATE),
            scheduler=DDict(name="StepLR", step_size=1, gamma=1),
        ),
        server=DDict(weighted=True),
        model=TwoNN(),
    )
    container = Data(loaders, [None] * PARTICIPANTS, test, num_classes=10)
    report = Report()
    algorithm = FedAVG(PARTICIPANTS, container, settings)
    algorithm.set_callbacks([Watch(report, rounds)])
    algorithm.run(rounds, PER_ROUND / PARTICIPANTS)
    report.tell("fluke-fl")


if __name__ == "__main__":
    main()
