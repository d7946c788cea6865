"""Labels first: the last layer's bias counts them.

For softmax and cross entropy, the gradient of the last bias is the mean of (p - y): prediction minus truth. Of one
sample, the only negative entry is its label (iDLG: Zhao et al. 2020). Of a batch, each label in it pulls its entry down
by 1/b, so the counts follow once the mean prediction is known; at the start it hardly depends on the images, and the
aggregator's own will do (compare Wainakh et al. 2022, "User-level label leakage from gradients"). Notebook 08 builds
`count_labels`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fedkit.learning.models import load_model
from fedkit.privacy.seen import Evidence, last_bias

__all__ = ["count_labels", "label_of", "labels_of_batch", "mean_prediction", "whole_counts"]


def label_of(bias_gradient: Tensor) -> int:
    """The label of a single sample from the gradient of the last bias [classes]: its only negative entry."""
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
    model = load_model(seen.source, seen.config.model_class_name)
    model.load_state_dict(seen.before)
    with torch.no_grad():
        prediction: Tensor = torch.softmax(model.eval()(images).double(), 1).mean(0)
    return prediction


def labels_of_batch(seen: Evidence, images: Tensor) -> Tensor:
    """The sorted labels of a one-step update: int64 [b]. images : of one's own, for the mean prediction."""
    samples = seen.num_samples or 1
    prediction = mean_prediction(seen, images)
    counts = count_labels(last_bias(seen.gradient), prediction, samples)
    return torch.arange(len(counts)).repeat_interleave(counts)
