"""What is usually behind samples and labels that don't fit a task, and the line of Python that puts it right.

Each remedy ends with that line, after a colon; it is made for the very tensors that were refused, and works on them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fedkit.config.task import Task

__all__ = ["of_dtype", "of_label_range", "of_label_shape", "of_pair", "of_range", "of_shape"]


def of_pair(shard: object, task: Task) -> str:
    """For what is no pair of tensors: a torch Dataset, arrays of NumPy, lists."""
    name, labels = task.samples, "torch.int64" if task.labels == "classes" else "torch.float32"
    tensors: Any = getattr(shard, "tensors", ())
    if isinstance(shard, tuple | list):
        kind = "int64" if name == "tokens" else "float32"
        pair = f"torch.as_tensor(shard[0], dtype=torch.{kind}), torch.as_tensor(shard[1], dtype={labels})"
        if len(shard) == 2:
            return f"make tensors of both: shard = {pair}"
    elif len(tensors) == 2:
        return "it is a TensorDataset, which holds the pair: shard = shard.tensors"
    elif isinstance(shard, torch.utils.data.Dataset):
        return (
            f"it gives one {task.one} at a time: {name}, labels = zip(*(shard[n] for n in range(len(shard)))); "
            f"shard = torch.stack({name}), torch.tensor(labels, dtype={labels})"
        )
    if task.is_digits:
        return "give (images float32 [N,1,28,28] in 0..1, labels int64 [N])"
    return "give (samples, labels), two tensors"


def of_dtype(field: str, tensor: Tensor, dtype: torch.dtype, task: Task) -> str:
    """For another dtype: bytes in place of floats, one-hot labels, and what a conversion alone puts right."""
    if field == "labels" and _is_one_hot(tensor, task):
        return _ONE_HOT
    whole = not (tensor.is_floating_point() or tensor.is_complex())
    if field == "images" and whole and task.range == (0.0, 1.0):
        return "divide bytes by 255 first: images = images.float() / 255"
    return f"save {field}.to({dtype}) instead: {field} = {field}.to({dtype})"


_ONE_HOT = "they are one-hot, and wanted is each one's class: labels = labels.float().argmax(1)"


def _is_one_hot(labels: Tensor, task: Task) -> bool:
    return task.labels == "classes" and labels.dim() == 2 and labels.shape[1] == task.outputs


def of_shape(samples: Tensor, task: Task) -> str:
    """For another shape: colours last, colours where grey is wanted, another size, a missing dimension."""
    name, shape, wanted = task.samples, tuple(samples.shape[1:]), task.shape
    numbers = samples.shape[1:].numel()
    if name == "images" and len(shape) == 3 and shape[2:] + shape[:2] == wanted:
        return "their colours stand last: images = images.permute(0, 3, 1, 2)"
    if name == "images" and len(shape) == 3 and shape[1:] == wanted[1:]:
        if wanted[0] == 1:
            return "they are in colour: images = images[:, :3].mean(1, keepdim=True)"
        if shape[0] == 1:
            return f"they are grey: images = images.repeat(1, {wanted[0]}, 1, 1)"
    if shape and numbers == math.prod(wanted):
        size = ", ".join(map(str, wanted))
        return f"reshape: {name} = {name}.reshape(-1, {size})"
    if name == "images" and len(shape) == 3 and shape[0] == wanted[0]:
        size = f"({wanted[1]}, {wanted[2]})"
        return f"they are of another size: images = torch.nn.functional.interpolate(images, {size})"
    if len(shape) == len(wanted) and numbers:
        return f'give {list(wanted)} numbers for each {task.one}, or write "shape": {list(shape)} in "task"'
    other = ', or say what yours are: "task" in the config' if task.is_digits else ""
    return f"give {list(wanted)} numbers for each {task.one}{other}"


def of_label_shape(labels: Tensor, count: int, task: Task) -> str:
    """For labels of another shape. count : of samples."""
    if _is_one_hot(labels, task):
        return _ONE_HOT
    columns = 1 if task.labels == "classes" else task.outputs
    if task.labels == "binary" and columns == 1 and labels.shape[1:] == (2,):
        return "they are one-hot, and wanted is the second column: labels = labels[:, 1]"
    if labels.numel() == count * columns and count:
        return f"reshape: labels = labels.reshape({'-1' if columns == 1 else f'-1, {columns}'})"
    many = "one label" if columns == 1 else f"{columns} numbers"
    return f"give {many} for each {task.one}, or correct task.outputs"


def of_range(task: Task, low: float, high: float) -> str:
    """For samples outside the task's range: bytes, a normalisation, rounding."""
    name, (least, most) = task.samples, task.range or (-math.inf, math.inf)
    if not (math.isfinite(low) and math.isfinite(high)):
        return (
            f"leave out what is not finite: keep = {name}.flatten(1).isfinite().all(1); "
            f"{name}, labels = {name}[keep], labels[keep]"
        )
    wide = (most - least) / 100
    if low >= least - wide and high <= most + wide:
        return f"rounding moved them: {name} = {name}.clamp({least:g}, {most:g})"
    if (least, most) != (0, 1) or name != "images":
        return f'correct "range" in "task", or bring them into it: {name} = {name}.clamp({least:g}, {most:g})'
    if low >= 0:
        if high <= 255:
            return "divide bytes by 255 first: images = images / 255"
        return "divide them by the largest first: images = images / images.max()"
    deviation, mean = (0.3081, 0.1307) if task.is_digits else (0.5, 0.5)
    on_purpose = (
        ""
        if task.is_digits
        else "where they are normalised on purpose, write task.range: null; else "
    )
    return (
        on_purpose
        + "undo the normalisation, with the deviation and the mean that it was made with: "
        f"images = (images * {deviation} + {mean}).clamp(0, 1)"
    )


def of_label_range(task: Task, first: float, last: float) -> str:
    """For labels that are no class of the task, or not 0 and 1."""
    if task.labels == "binary":
        return f"save which are the positive ones: labels = (labels == {last:g}).float()"
    if first == 1 and last == task.outputs:
        return "they begin with 1: labels = labels - 1"
    if task.is_digits:
        return "label each image with its digit"
    return "number the classes from 0, or correct task.outputs"
