"""pfl: its simulated backend with its own PyTorch model, in this process or, started together, in several."""

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
from shared import Report, Work, arguments, loss, right
from torch import nn


class Model(nn.Module):
    """The two methods that pfl wants of a module."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.net = work.model()

    def loss(self, samples, labels, eval=False):
        """The task's mean loss."""
        return loss(self.net(samples), labels)

    @torch.no_grad()
    def metrics(self, samples, labels, eval=False):
        """Accuracy alone."""
        return {"accuracy": Weighted(right(self.net(samples), labels), len(labels))}


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
    work, rounds, _ = arguments()
    np.random.seed(0)  # noqa: NPY002 pfl draws its participants from the global state

    def shard(participant: int) -> PyTorchTensorDataset:
        samples, labels = work.samples[participant], work.labels[participant]
        order = torch.randperm(len(labels))  # pfl itself never shuffles
        return PyTorchTensorDataset((samples[order], labels[order]), user_id=str(participant))

    people = FederatedDataset(
        shard,
        get_user_sampler("minimize_reuse", list(np.random.permutation(work.participants))),  # noqa: NPY002
    )
    module = Model(work)
    model = PyTorchModel(module, torch.optim.SGD, torch.optim.SGD(module.parameters(), 1.0))
    report = Report()
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=rounds,
            evaluation_frequency=10
            ** 9,  # of the participants' own data, which nobody else evaluates
            train_cohort_size=work.per_round,
            val_cohort_size=0,
        ),
        backend=SimulatedBackend(training_data=people, val_data=people),
        model=model,
        model_train_params=NNTrainHyperParams(
            local_num_epochs=1, local_learning_rate=work.rate, local_batch_size=work.batch
        ),
        model_eval_params=NNEvalHyperParams(local_batch_size=None),
        callbacks=[
            CentralEvaluationCallback(PyTorchTensorDataset((work.test_samples, work.test_labels))),
            Watch(report),
        ],
        send_metrics_to_platform=False,
    )
    if pytorch_ops.distributed.global_rank == 0:
        report.tell("pfl")


if __name__ == "__main__":
    main()
