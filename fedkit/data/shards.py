"""A participant's private data as files: `mnist_label_0.pt` to `mnist_label_9.pt` for digits, as the real client reads
them, and `shard.pt` for other tasks. Whatever is read is checked against the project's task.

Which sample a shuffle puts first depends on the order they come in; `in_order` is that order, on disk and in memory.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_dataset, write_dataset
from fedkit.base.names import DATA_FILE
from fedkit.config.task import DIGITS, Task
from fedkit.data import remedies

__all__ = [
    "Shard",
    "as_float",
    "check_dataset",
    "in_order",
    "pair_of",
    "read_shard",
    "write_shard",
    "wrong",
]

Shard = tuple[Tensor, Tensor]
"""(samples, labels) of a participant: for digits, images float32 [N,1,28,28] in 0..1 and labels int64 [N]."""


def wrong(field: str, what: str, remedy: str, file: Path | str | None = None) -> FedkitError:
    """An error about one part of somebody's samples, or about one argument of a partition."""
    return FedkitError(what, file=file, field=field, remedy=remedy)


def as_float(images: Tensor) -> Tensor:
    """Stored images uint8 [N,28,28] as a model takes them: float32 [N,1,28,28], 0 to 1 (x / 255)."""
    if images.dtype != torch.uint8 or images.dim() != 3 or images.shape[1:] != (28, 28):
        raise wrong(
            "images",
            f"are {images.dtype} {list(images.shape)}, not uint8 [N,28,28]",
            "pass MNIST's images as load_mnist() gives them",
        )
    return images.unsqueeze(1).float() / 255


def in_order(shard: Shard, task: Task = DIGITS) -> Shard:
    """The shard as it is trained on: digits by label, and the images of one label as they came; others as they came.

    Files of one label each, read by name, have this order, whoever dealt them out.
    """
    samples, labels = shard
    if not task.is_digits or bool((labels[1:] >= labels[:-1]).all()):
        return shard
    order = labels.argsort(stable=True)
    return samples.index_select(0, order), labels[order]


def write_shard(folder: Path, shard: Shard, task: Task = DIGITS) -> list[Path]:
    """Write `mnist_label_d.pt` for each digit d in the shard, or `shard.pt` for another task; returns the files.

    A file of the same name is replaced; files of digits that the shard does not have stay, and `read_shard` will read
    them too. Raises FedkitError if the shard does not fit the task, before anything is written.
    """
    samples, labels = pair_of(shard, task, "shard")
    check_dataset(samples, labels, folder, task)
    if not task.is_digits:
        write_dataset(Path(folder) / "shard.pt", samples, labels)
        return [Path(folder) / "shard.pt"]
    written = []
    for digit in labels.unique(sorted=True).tolist():
        chosen = labels == digit
        path = Path(folder) / f"mnist_label_{digit}.pt"
        write_dataset(path, samples[chosen], labels[chosen])
        written.append(path)
    return written


def pair_of(shard: object, task: Task, field: str, whose: str = "") -> Shard:
    """The two tensors, whatever they hold. Raises FedkitError about `field` where there are no two."""
    if isinstance(shard, tuple | list) and len(shard) == 2:
        samples, labels = shard
        if isinstance(samples, Tensor) and isinstance(labels, Tensor):
            return samples, labels
    raise wrong(field, f"{whose}is no pair of tensors", remedies.of_pair(shard, task))


def read_shard(folder: Path, task: Task = DIGITS) -> Shard:
    """All data files of a folder, in the order of their names, as one shard `in_order`.

    Raises FedkitError, naming the file, if one does not hold what the task says, is a link, or if there is none.
    """
    try:
        paths = sorted(path for path in Path(folder).iterdir() if DATA_FILE.fullmatch(path.name))
    except FileNotFoundError:
        paths = []
    except OSError as error:
        raise FedkitError(
            f"can't be looked into ({error.strerror})",
            file=folder,
            remedy="check that it is a folder you may read",
        ) from error
    if not paths:
        raise FedkitError(
            "holds no mnist_label_0.pt to mnist_label_9.pt"
            if task.is_digits
            else "holds no shard.pt",
            file=folder,
            remedy="put training data there, for example from `fedkit data samples --out DIR`"
            if task.is_digits
            else "write it with fk.write_shard(folder, (samples, labels), task)",
        )
    parts = []
    for path in paths:
        images, labels = read_dataset(path)
        check_dataset(images, labels, path, task)
        parts.append((images.detach(), labels))
    samples, answers = (torch.cat(column) for column in zip(*parts, strict=True))
    return in_order((samples, answers), task)


def check_dataset(images: Tensor, labels: Tensor, file: Path | str, task: Task = DIGITS) -> None:
    """Look at a stranger's data before it is used: samples and labels as the task says, of the same length, not empty.

    For digits: images float32 [N,1,28,28] in 0..1, labels int64 [N] in 0..9, N >= 1. Raises FedkitError that names `file`,
    the field and the remedy.
    """
    name, wanted = task.samples, ",".join(map(str, task.shape))
    _check_storage(name, images, torch.int64 if name == "tokens" else torch.float32, task, file)
    kind = torch.int64 if task.labels == "classes" else torch.float32
    if (
        images.dim() == len(task.shape) + 1
    ):  # else the samples are something else, and their labels may be right
        _check_storage("labels", labels, kind, task, file)
    if tuple(images.shape[1:]) != task.shape:
        what = f"have shape {list(images.shape)}, not [N,{wanted}]"
        raise wrong(name, what, remedies.of_shape(images, task), file)
    one_each = task.labels == "classes" or task.outputs == 1
    in_columns = task.labels != "classes" and labels.shape[1:] == (task.outputs,)
    if not (in_columns or (one_each and labels.dim() == 1)):
        what = f"have shape {list(labels.shape)}, not [{'N' if one_each else f'N,{task.outputs}'}]"
        raise wrong("labels", what, remedies.of_label_shape(labels, len(images), task), file)
    if len(images) != len(labels):
        what = f"are {len(labels)} for {len(images)} {name}"
        raise wrong("labels", what, f"save one label for each {task.one}", file)
    if not len(images):
        raise wrong(name, "are empty", f"put in at least one {task.one}, or remove the file", file)
    _check_samples(images.detach(), task, file)
    _check_labels(labels, task, file)


def _check_samples(samples: Tensor, task: Task, file: Path | str) -> None:
    name = task.samples
    low, high = (float(value) for value in torch.aminmax(samples))
    if low != low or high != high:
        remedy = f"find out where it comes from, and save the {name} without it"
        raise wrong(name, "hold NaN", remedy, file)
    if name == "tokens":
        last = (task.vocabulary or 1) - 1
        if low < 0 or high > last:
            what = f"range from {low:g} to {high:g}, not within 0..{last}"
            raise wrong(name, what, "number the tokens from 0, or correct task.vocabulary", file)
    elif task.range is None:
        if not (math.isfinite(low) and math.isfinite(high)):
            raise wrong(name, "hold infinity", "find out where it comes from", file)
    elif low < task.range[0] or high > task.range[1]:
        least, most = task.range
        what = f"range from {low:g} to {high:g}, not within {least:g}..{most:g}"
        raise wrong(name, what, remedies.of_range(task, low, high), file)


def _check_labels(labels: Tensor, task: Task, file: Path | str) -> None:
    first, last = (float(value) for value in torch.aminmax(labels.detach()))
    if not (math.isfinite(first) and math.isfinite(last)):
        raise wrong("labels", "hold NaN or infinity", "leave out those samples", file)
    if task.labels == "classes" and (first < 0 or last > task.outputs - 1):
        what = f"range from {first:g} to {last:g}, not within 0..{task.outputs - 1}"
        raise wrong("labels", what, remedies.of_label_range(task, first, last), file)
    if task.labels == "binary" and not bool(((labels == 0) | (labels == 1)).all()):
        remedy = remedies.of_label_range(task, first, last)
        raise wrong("labels", "are not 0 and 1 alone", remedy, file)


def _check_storage(
    field: str, tensor: Tensor, dtype: torch.dtype, task: Task, file: Path | str
) -> None:
    """A plain tensor of `dtype` whose numbers are all really there (a view may repeat one number without end)."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise wrong(field, "are no plain tensor", f"save {field}.to_dense().cpu() instead", file)
    if tensor.dtype != dtype:
        remedy = remedies.of_dtype(field, tensor, dtype, task)
        raise wrong(field, f"are {tensor.dtype}, not {dtype}", remedy, file)
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        what = "repeat the same numbers in place of storing them"
        raise wrong(field, what, f"save {field}.clone() instead", file)
