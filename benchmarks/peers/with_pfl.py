"""pfl: its simulated backend with its own PyTorch model, in this process or, started by torchrun, in several."""

from __future__ import annotations

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.callback.central_evaluation import CentralEvaluationCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
from pfl.internal.ops import pytorch_ops
from pfl.metrics import Metrics, StringMetricName, Weighted, get_overall_value
from pfl.model.pytorch import PyTorchModel
from shared import BATCH, PARTICIPANTS, PER_ROUND, RATE, Report, TwoNN, arguments
from torch.nn import functional as F


class Model(TwoNN):
    """The two methods that pfl wants of a module."""

    def loss(self, images, labels, eval=False):
        """Mean cross entropy."""
        return F.cross_entropy(self(images), labels)

    @torch.no_grad()
    def metrics(self, images, labels, eval=False):
        """Accuracy alone."""
        right = (self(images).argmax(1) == labels).sum().item()
        return {"accuracy": Weighted(right, len(labels))}


class Watch(TrainingProcessCallback):
    """Comes after the evaluation of each round."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def after_central_iteration(self, aggregate_metrics, model, *, central_iteration):
        """pfl evaluates before its first round and after every other one."""
        name = StringMetricName("Central val | accuracy")
        there = name in aggregate_metrics
        self.report.round(get_overall_value(aggregate_metrics[name]) if there else 0.0)
        return False, Metrics()


def main() -> None:
    """All rounds."""
    data, rounds, _ = arguments()
    np.random.seed(0)  # noqa: NPY002 pfl draws its participants from the global state

    def shard(participant: int) -> PyTorchTensorDataset:
        images, labels = data["images"][participant], data["labels"][participant]
        order = torch.randperm(len(labels))  # pfl itself never shuffles
        return PyTorchTensorDataset((images[order], labels[order]), user_id=str(participant))

    people = FederatedDataset(
        shard,
        get_user_sampler("minimize_reuse", list(np.random.permutation(PARTICIPANTS))),  # noqa: NPY002
    )
    module = Model()
    model = PyTorchModel(module, torch.optim.SGD, torch.optim.SGD(module.parameters(), 1.0))
    report = Report()
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=rounds,
            evaluation_frequency=10
            ** 9,  # of the participants' own data, which nobody else evaluates
            train_cohort_size=PER_ROUND,
            val_cohort_size=0,
        ),
        backend=SimulatedBackend(training_data=people, val_data=people),
        model=model,
        model_train_params=NNTrainHyperParams(
            local_num_epochs=1, local_learning_rate=RATE, local_batch_size=BATCH
        ),
        model_eval_params=NNEvalHyperParams(local_batch_size=None),
        callbacks=[
            CentralEvaluationCallback(
                PyTorchTensorDataset((data["test_images"], data["test_labels"]))
            ),
            Watch(report),
        ],
        send_metrics_to_platform=False,
    )
    if pytorch_ops.distributed.global_rank == 0:
        report.tell("pfl")


if __name__ == "__main__":
    main()
