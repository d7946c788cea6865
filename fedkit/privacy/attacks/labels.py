"""Labels: which ones, and how many of each, the change of the last layer tells.

For softmax and cross entropy, the gradient of the last bias is the mean of (p - y): prediction minus truth. Of one
sample, the only negative entry is its label (Zhao et al. 2020, "iDLG: Improved deep leakage from gradients"). Of a batch,
each label in it pulls its entry down by 1/b, so the counts follow once the mean prediction is known; at the start it hardly
depends on the images, and the aggregator's own will do (compare Wainakh et al. 2022, "User-level label leakage from
gradients").

After many steps, each image of digit k has moved the last layer about as the aggregator's own images of k would. So the
update is a mixture of ten known directions, and the shares are the solution of a small least squares problem without
negative numbers. During training the directions turn; their mean along the way is taken by Simpson's rule from the start,
the middle and the end, which the aggregator all has. Property inference: Melis et al. 2019, "Exploiting unintended feature
leakage". Notebook 08 builds `count_labels` and runs `count_digits`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from fedkit.base.errors import FedkitError
from fedkit.data.shards import Shard
from fedkit.learning.models import StateDict
from fedkit.privacy.attacks.evidence import Evidence

__all__ = [
    "count_digits",
    "count_labels",
    "label_of",
    "labels_of_batch",
    "last_bias",
    "mean_prediction",
    "whole_counts",
]


def last_bias(state: Mapping[str, Tensor], classes: int = 10) -> Tensor:
    """The bias [classes] of the last layer, from a state or a change. Raises FedkitError if there is none."""
    for name, value in reversed(list(state.items())):
        if name.endswith("bias") and value.shape == (classes,):
            return value
    raise FedkitError(
        f"has no last bias with {classes} entries",
        field="state",
        remedy="this model's labels can't be read off so easily",
    )


def label_of(bias_gradient: Tensor) -> int:
    """The label of a single sample from the gradient of the last bias [classes]: its only negative entry.

    Raises FedkitError where that is not one entry alone: then it is no single sample's.
    """
    if int((bias_gradient < 0).sum()) != 1:
        raise FedkitError(
            f"has {int((bias_gradient < 0).sum())} negative entries, and a single sample's has one",
            field="bias_gradient",
            remedy="count the labels of a batch: fk.privacy.count_labels",
        )
    return int(bias_gradient.argmin())


def count_labels(bias_gradient: Tensor, prediction: Tensor, samples: int) -> Tensor:
    """How many samples of each label a batch has: int64 [classes], from n_k = b (mean p_k - dL/db_k).

    bias_gradient [classes] : of the last bias. prediction [classes] : the model's mean softmax on any similar images.
    """
    counts = samples * (prediction - bias_gradient)
    return whole_counts(counts, samples)


def whole_counts(counts: Tensor, samples: int) -> Tensor:
    """Counts [classes] as whole numbers, none negative, that add up to `samples`: the largest remainders round up."""
    counts = counts.double().clamp_min(0)
    counts = counts * samples / counts.sum().clamp_min(1e-12)
    whole = counts.floor()
    missing = samples - int(whole.sum())
    whole[(counts - whole).argsort(descending=True)[:missing]] += 1
    return whole.long()


def mean_prediction(seen: Evidence, images: Tensor) -> Tensor:
    """The mean softmax of the global model on images float32 [N,1,28,28] of one's own: float64 [classes]."""
    with torch.no_grad():
        prediction: Tensor = torch.softmax(seen.model(seen.before)(images).double(), 1).mean(0)
    return prediction


def labels_of_batch(seen: Evidence, images: Tensor) -> Tensor:
    """The sorted labels of a one-step update: int64 [b]. images : of one's own, for the mean prediction.

    Raises FedkitError where the project's labels are no classes, the update has more than one step, or it does not say of
    how many samples it is: no label follows then.
    """
    samples = seen.num_samples
    if samples is None or seen.steps != 1:
        raise FedkitError(
            f"has {seen.steps or 'an unknown number of'} steps, and labels can be counted after one",
            field="seen",
            remedy="estimate their shares: fk.privacy.count_digits",
        )
    bias = last_bias(seen.gradient, _classes(seen))
    counts = count_labels(bias, mean_prediction(seen, images), samples)
    return torch.arange(len(counts)).repeat_interleave(counts)


def count_digits(seen: Evidence, own: Shard, samples: int | None = None) -> Tensor:
    """An estimate of how many images of each digit, or samples of each class, are behind an update: int64 [classes].

    own : images float32 [N,1,28,28], labels int64 [N] of the aggregator, some of each digit. samples : how many images the
    update has in all; by default what the participant says. Raises FedkitError where the project's labels are no classes,
    or one's own lack a class.
    """
    from scipy.optimize import nnls

    total = samples or seen.num_samples or 1
    middle = {name: (seen.before[name] + seen.update[name]) / 2 for name in seen.before}
    ways = [_directions(seen, state, own) for state in (seen.before, middle, seen.update)]
    mean = (ways[0] + 4 * ways[1] + ways[2]) / 6
    target = -torch.cat([value.flatten() for value in _last_layer(seen.change, _classes(seen))])
    shares = torch.from_numpy(nnls(mean.T.numpy(), target.numpy())[0])
    return whole_counts(shares, total)


def _directions(seen: Evidence, state: StateDict, own: Shard) -> Tensor:
    """The last layer's mean gradient on one's own images, digit by digit: float64 [classes, L]."""
    model, (images, labels) = seen.model(state), own
    parameters = dict(model.named_parameters())
    rows, classes = [], _classes(seen)
    for digit in range(classes):
        chosen = labels == digit
        if not bool(chosen.any()):
            raise FedkitError(
                f"have no sample of class {seen.config.task.names[digit]}",
                field="own",
                remedy="give some of each class",
            )
        loss = F.cross_entropy(model(images[chosen]), labels[chosen])
        found = torch.autograd.grad(loss, list(parameters.values()))
        gradient = dict(zip(parameters, found, strict=True))
        rows.append(
            torch.cat([value.flatten().double() for value in _last_layer(gradient, classes)])
        )
    return torch.stack(rows)


def _classes(seen: Evidence) -> int:
    """How many classes the project has. Raises FedkitError where its labels are none."""
    task = seen.config.task
    if task.labels != "classes":
        raise FedkitError(
            f"has no classes to be counted: its labels are {task.labels}",
            field="task",
            remedy="this attack needs a project whose loss is cross_entropy",
        )
    return task.outputs


def _last_layer(state: StateDict, classes: int) -> list[Tensor]:
    """Weight and bias of the last layer."""
    bias = last_bias(state, classes)
    name = next(n for n, value in state.items() if value is bias)
    return [state[name.removesuffix("bias") + "weight"], bias]
