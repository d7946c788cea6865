"""torchvision's data sets that lie on the disk already become shards, each with the test set that it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedkit.base.distribution import need
from fedkit.base.errors import FedkitError
from fedkit.data.folder import checked_task
from fedkit.data.importing import Imported, check_size, import_images, pixels_of
from fedkit.data.shards import Shard

__all__ = ["import_torchvision"]


_PARTS: dict[str, list[dict[str, Any]]] = {
    **{
        name: [{"train": True}, {"train": False}]
        for name in ("MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100")
    },
    **{name: [{"split": "train"}, {"split": "test"}] for name in ("SVHN", "STL10")},
}
"""Of torchvision's data sets those of one image and one class a sample, all of one size, with a test set; how its two parts
are asked for. Their files are plain numbers, or are held to their known checksums before they are opened (CIFAR's are
pickles)."""

MOST_BYTES = 2**31
"""Of one file, and of all pixels of one part."""


def import_torchvision(name: str, root: Path, *, size: tuple[int, int] | None = None) -> Imported:
    """A data set of torchvision, by its class's name, as torchvision puts it below `root`; with its own test set.

    Nothing is downloaded. size : (height, width) to bring images to. Raises FedkitError if the class is not one of those
    that are known here, or its files are missing or are not what they should be.
    """
    need("a data set of torchvision", "torchvision")
    from torchvision import datasets

    check_size(size)
    if name == "ImageFolder":
        return import_images(root, size=size)
    if name not in _PARTS:
        raise FedkitError(
            f"{name!r:.60} is not among the data sets that can be read",
            field="torchvision",
            remedy=f"take {', '.join(_PARTS)} or ImageFolder; make an .npz with x and y of any other",
        )
    try:
        for path in (Path(root) / name / "raw").glob("*"):
            if path.stat().st_size > MOST_BYTES:
                raise ValueError(f"{path.name} is larger than any of its files")
        parts = [getattr(datasets, name)(root, download=False, **part) for part in _PARTS[name]]
        (samples, labels), test = (_part(part, size) for part in parts)
    except Exception as error:  # each data set has its own ways to fail
        said = str(error).partition(" You can use download")[0].rstrip(".")
        raise FedkitError(
            f"holds no {name} that can be read ({said or type(error).__name__})",
            file=root,
            remedy="put its files there as torchvision lays them out; nothing is downloaded",
        ) from error
    names = getattr(parts[0], "classes", None)
    count = int(max(labels.max(), test[1].max())) + 1 if names is None else len(names)
    about: dict[str, Any] = {"shape": list(samples.shape[1:]), "outputs": max(2, count)}
    if names is not None:
        about["class_names"] = [str(one)[:60] for one in names]
    task = checked_task({**about, "metrics": ["accuracy", "balanced_accuracy"]}, root)
    return Imported(task, samples, labels, test=test)


def _part(images: Any, size: tuple[int, int] | None) -> Shard:
    """float32 [N,C,H,W] in 0..1 and int64 [N] of one part of a data set."""
    first = pixels_of(images[0][0], size)
    if len(images) * first.size > MOST_BYTES:
        raise ValueError(f"{len(images):,} images have more than {MOST_BYTES:,} pixels")
    pixels = np.empty((len(images), *first.shape), np.uint8)
    labels = torch.empty(len(images), dtype=torch.int64)
    for number in range(len(images)):
        image, labels[number] = images[number]
        pixels[number] = pixels_of(image, size)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().contiguous() / 255, labels
