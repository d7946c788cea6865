"""Images that look different at each participant, and two measures of how much datasites differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fedkit.base.distribution import need
from fedkit.data.shards import Shard, wrong

__all__ = ["as_classes", "heterogeneity", "label_counts", "shift_features"]


def shift_features(
    shards: Sequence[Shard], kind: str, strength: float = 1.0, *, generator: torch.Generator
) -> list[Shard]:
    """Images that look different at each participant: the k-th of K gets (k / (K - 1)) x strength of the shift.

    kind : "rotation" (up to 45 degrees x strength), "contrast" (down to 1 - 0.8 x strength) or "noise" (Gaussian, standard
    deviation up to 0.5 x strength; only this draws from the generator). Images stay in 0..1; labels stay.
    Raises FedkitError for another kind, a strength that is no finite number of at least 0, or samples that are no images.
    """
    need("a shift of looks", "torchvision")
    from torchvision.transforms import v2
    from torchvision.transforms.v2 import functional as T

    changes: dict[str, Callable[[Tensor, float], Tensor]] = {
        "rotation": lambda x, amount: T.rotate(x, 45 * amount, v2.InterpolationMode.BILINEAR),
        "contrast": lambda x, amount: T.adjust_contrast(x, max(0.0, 1 - 0.8 * amount)),
        "noise": lambda x, amount: x + 0.5 * amount * torch.randn(x.shape, generator=generator),
    }
    if kind not in changes:
        raise wrong("kind", f"{kind!r} is unknown", f"one of {', '.join(changes)}")
    if not math.isfinite(strength) or strength < 0:
        raise wrong("strength", f"must be a finite number of at least 0, not {strength!r}", "try 1")
    if any(images.dim() != 4 or not images.is_floating_point() for images, _ in shards):
        raise wrong(
            "shards",
            "hold no images in 0..1",
            "give float32 [N,C,H,W]; other samples have no such shift",
        )
    last = max(1, len(shards) - 1)
    return [
        (changes[kind](images, strength * k / last).clamp(0, 1), labels)
        for k, (images, labels) in enumerate(shards)
    ]


def label_counts(shards: Sequence[Shard], classes: int = 10) -> Tensor:
    """How many images of each label each participant has, int64 [K, classes]. Raises FedkitError as `as_classes` does."""
    counted = [as_classes(labels, classes) for _, labels in shards]
    return torch.stack([torch.bincount(labels, minlength=classes) for labels in counted])


def as_classes(labels: Tensor, classes: int) -> Tensor:
    """Labels as classes, int64 [N]; those of yes or no are float. Raises FedkitError where they are no such classes."""
    whole = labels.long()
    if labels.dim() != 1 or bool((whole != labels).any()):
        raise wrong(
            "shards", "have labels that are no classes", "only classes can be counted or flipped"
        )
    if len(whole) and not 0 <= int(whole.min()) <= int(whole.max()) < classes:
        what = f"have labels from {int(whole.min())} to {int(whole.max())}, not 0 to {classes - 1}"
        raise wrong("shards", what, "say how many classes there are: classes=config.task.classes")
    return whole


def heterogeneity(shards: Sequence[Shard], classes: int = 10) -> float:
    """One number for label skew: the mean total variation distance between a participant's labels and everybody's.

    H = sum_k (n_k / n) * 1/2 * sum_c |p_k(c) - p(c)|;  0 where all have the same mixture, 1 - 1/classes where each has
    one label of its own and all labels are equally frequent. H is the share of all images that would have to change hands
    for everybody to have the same mixture at the same size; who holds nothing does not count. Raises FedkitError if nobody
    holds anything, or labels are no such classes.
    """
    counts = label_counts(shards, classes).double()
    sizes = counts.sum(1)
    if not sizes.sum():
        raise wrong("shards", "hold no images", "give at least one image")
    pooled = counts.sum(0) / sizes.sum()
    distance = (counts / sizes.clamp(min=1).unsqueeze(1) - pooled).abs().sum(1) / 2
    return float((sizes / sizes.sum()) @ distance)
