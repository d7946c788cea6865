"""How answers are judged: the loss that trains, and the metrics of a test set, as the project's task names them.

Losses are torch's, metrics scikit-learn's. Whoever trains, evaluates, or tries a model out asks here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedkit.config.task import Task

__all__ = [
    "Criterion",
    "blank_labels",
    "blank_samples",
    "criterion_of",
    "fits_answer",
    "metrics_of",
]


Criterion = Callable[..., Tensor]
"""Called as criterion(answers, labels, reduction="mean"); torch's losses are such."""


def criterion_of(task: Task) -> Criterion:
    """The task's loss, torch's own where nothing has to be added.

    answers : float32 [N, outputs], or [N] where one number is one answer. labels : as the task says. Returns a float32
    scalar, or one number a sample with reduction="none".
    """
    if task.loss == "cross_entropy" and task.class_weights is None:
        return F.cross_entropy
    weights = None if task.class_weights is None else torch.tensor(task.class_weights)

    def criterion(answers: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
        if task.loss == "cross_entropy":
            return F.cross_entropy(answers, labels, _on(weights, answers), reduction=reduction)
        answers = answers.reshape(labels.shape)
        if task.loss == "bce_with_logits":
            each = F.binary_cross_entropy_with_logits(
                answers, labels, pos_weight=_on(weights, answers), reduction="none"
            )
        else:
            each = _REGRESSION[task.loss](answers, labels, reduction="none")
        each = each.flatten(1).mean(1) if each.dim() > 1 else each
        return each if reduction == "none" else each.sum() if reduction == "sum" else each.mean()

    return criterion


_REGRESSION: dict[str, Criterion] = {"mse": F.mse_loss, "l1": F.l1_loss, "huber": F.huber_loss}


def _on(weights: Tensor | None, answers: Tensor) -> Tensor | None:
    return None if weights is None else weights.to(answers)


def blank_samples(task: Task, count: int = 2) -> Tensor:
    """So many samples of zeros, in the task's shape and dtype: to try a model out."""
    dtype = torch.int64 if task.samples == "tokens" else torch.float32
    return torch.zeros(count, *task.shape, dtype=dtype)


def blank_labels(task: Task, count: int = 2) -> Tensor:
    """So many labels of zeros, as the task says them."""
    if task.labels == "classes":
        return torch.zeros(count, dtype=torch.int64)
    return torch.zeros(count) if task.outputs == 1 else torch.zeros(count, task.outputs)


def fits_answer(task: Task, answer: object, count: int = 2) -> bool:
    """Is this what a model should answer to so many samples: float [count, outputs], or [count] for one number each?"""
    if not isinstance(answer, Tensor):
        return False
    shape = tuple(answer.shape)
    return shape == (count, task.outputs) or (task.outputs == 1 and shape == (count,))


def metrics_of(task: Task, answers: Tensor, labels: Tensor) -> dict[str, float]:
    """The task's metrics, by name; `recall` as `recall NAME`, one a class.

    answers : what the model gave, float32 [N, outputs]. What is undefined, such as an AUC where a class is missing, is left
    out (Fawcett 2006 for what each says).
    """
    found: dict[str, float] = {}
    for name in task.metrics:
        if task.labels == "numbers":
            value = _of_numbers(name, answers.reshape(labels.shape).numpy(), labels.numpy())
            found[name] = value
        elif name == "recall":
            found |= _recalls(task, *_decided(task, answers, labels))
        elif name == "auc":
            found |= _auc(task, answers, labels) if bool(answers.isfinite().all()) else {}
        else:
            found[name] = _of_classes(name, *_decided(task, answers, labels))
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _decided(task: Task, answers: Tensor, labels: Tensor) -> tuple[Any, Any]:
    """What is so and what was said, int64 [N]; the columns of several yes-or-no answers one after the other."""
    if task.labels == "classes":
        return labels.numpy(), answers.argmax(1).numpy()
    return labels.flatten().long().numpy(), (
        answers.reshape(labels.shape) > 0
    ).flatten().long().numpy()


def _of_classes(name: str, so: Any, said: Any) -> float:
    from sklearn import metrics

    if name == "accuracy":
        return float((so == said).mean())
    return float(
        metrics.recall_score(so, said, average="macro", labels=np.unique(so), zero_division=0)
    )


def _recalls(task: Task, so: Any, said: Any) -> dict[str, float]:
    from sklearn import metrics

    there = np.unique(so)
    each = metrics.recall_score(so, said, average=None, labels=there, zero_division=0)
    return {f"recall {task.names[c]}": float(r) for c, r in zip(there, each, strict=True)}


def _auc(task: Task, answers: Tensor, labels: Tensor) -> dict[str, float]:
    """Area under the ROC curve; of several classes the mean of one against the rest."""
    from sklearn import metrics

    if task.labels == "binary":
        so, scores = labels.flatten().numpy(), answers.flatten().numpy()
        return {"auc": float(metrics.roc_auc_score(so, scores))} if len(np.unique(so)) == 2 else {}
    so, shares = labels.numpy(), answers.softmax(1).numpy()
    there = [c for c in np.unique(so) if 0 < (so == c).sum() < len(so)]
    areas = [metrics.roc_auc_score(so == c, shares[:, c]) for c in there]
    return {"auc": float(np.mean(areas))} if areas else {}


def _of_numbers(name: str, said: Any, so: Any) -> float:
    from sklearn import metrics

    if name == "mae":
        return float(metrics.mean_absolute_error(so, said))
    if name == "rmse":
        return float(metrics.root_mean_squared_error(so, said))
    return float(metrics.r2_score(so, said)) if len(so) > 1 else float("nan")
