"""NumPy's arrays in an `.npz` become shards: x [N, ...], y [N], and perhaps participant [N]. Nothing in it is unpickled."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.data.folder import checked_task
from fedkit.data.importing import Imported

__all__ = ["import_arrays"]


def import_arrays(path: Path, *, loss: str | None = None) -> Imported:
    """An `.npz` with x [N, ...], y [N] and perhaps participant [N]. Raises FedkitError."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            x, y = arrays["x"], arrays["y"]
            whose = arrays.get("participant")
    except (OSError, ValueError, LookupError, TypeError, EOFError, *_BROKEN) as error:
        raise FedkitError(
            f"holds no arrays x and y of numbers ({str(error).partition('. ')[0]})",
            file=path,
            remedy="write it with numpy.savez(path, x=samples, y=labels)",
        ) from error
    dims = {4: "images", 2: "vectors"}
    if x.ndim not in dims or x.shape[:1] != y.shape[:1] or not len(x):
        raise FedkitError(
            f"has x {list(x.shape)} and y {list(y.shape)}",
            file=path,
            remedy="give x [N, features] or [N, channels, height, width], and a y for each",
        )
    if x.dtype.kind not in "biuf":
        raise _unfit(f"x of {x.dtype}", 'give numbers: x.astype("float32")', path)
    tokens = dims[x.ndim] == "vectors" and x.dtype.kind in "iu"
    if tokens and x.min() < 0:
        remedy = 'write x.astype("float32") where they are amounts; tokens are numbered from 0'
        raise _unfit("whole numbers below 0 as x, which are no tokens", remedy, path)
    if x.ndim == 4 and x.shape[3] in (1, 3, 4) and x.shape[1] not in (1, 3, 4):
        remedy = "put the colours first: x.transpose(0, 3, 1, 2)"
        raise _unfit(f"x {list(x.shape)}, whose colours seem to stand last", remedy, path)
    about: dict[str, Any] = {"samples": dims[x.ndim], "shape": list(x.shape[1:])}
    samples = torch.from_numpy(x.astype(np.int64)) if tokens else _floats(x, "x", path)
    if tokens:
        about |= {"samples": "tokens", "vocabulary": int(x.max()) + 1}
    elif x.ndim == 4:
        about["range"] = None
        if x.dtype == np.uint8:
            samples, about["range"] = samples / 255, [0, 1]
    labels, said = _array_labels(y[:, 0] if y.shape[1:] == (1,) else y, path, loss)
    task = checked_task(about | said, path)
    return Imported(task, samples, labels, None if whose is None else _whose(whose, len(x), path))


_BROKEN = (zipfile.BadZipFile, zlib.error)


def _unfit(what: str, remedy: str, path: Path) -> FedkitError:
    return FedkitError(f"holds {what}", file=path, remedy=remedy)


def _floats(values: np.ndarray[Any, Any], name: str, path: Path) -> Tensor:
    """float32; raises FedkitError where a finite number is too large for it."""
    with np.errstate(over="ignore"):
        floats = values.astype(np.float32)
    if bool((np.isinf(floats) & np.isfinite(values)).any()):
        raise _unfit(f"numbers in {name} that float32 can't", "divide them by their scale", path)
    return torch.from_numpy(floats)


def _array_labels(
    y: np.ndarray[Any, Any], path: Path, loss: str | None
) -> tuple[Tensor, dict[str, Any]]:
    """Labels, and what the task says of them: whole numbers are classes where no loss says otherwise, others numbers."""
    if y.dtype.kind not in "biuf":
        remedy = "number the classes: names, y = numpy.unique(y, return_inverse=True)"
        raise _unfit(f"y of {y.dtype}", remedy, path)
    whole = y.dtype.kind in "biu"
    if loss is None and y.dtype.kind == "b":
        loss = "bce_with_logits"
    if loss == "cross_entropy" or (loss is None and whole):
        if not whole or y.ndim != 1 or y.min() < 0:
            remedy = (
                "number the classes from 0, as whole numbers: y.argmax(1) where they are one-hot"
            )
            what = f"y {y.dtype} {list(y.shape)} from {y.min():g}, which are no classes"
            raise _unfit(what, remedy, path)
        return torch.from_numpy(y.astype(np.int64)), {"outputs": max(2, int(y.max()) + 1)}
    if y.ndim > 2:
        raise _unfit(f"y {list(y.shape)}", "give y [N] or [N, outputs]", path)
    about = {"loss": loss or "mse", "outputs": 1 if y.ndim == 1 else y.shape[1]}
    return _floats(y, "y", path), about


def _whose(owners: np.ndarray[Any, Any], count: int, path: Path) -> list[str]:
    """The participant of each sample, by name or number."""
    if owners.dtype.kind not in "USiu" or owners.shape != (count,):
        what = f"participant {owners.dtype} {list(owners.shape)} for {count} samples"
        raise _unfit(what, "give a name or a whole number for each sample", path)
    names = [name.strip() for name in owners.astype(str).tolist()]
    if "" in names:
        raise _unfit("an empty name in participant", "say of each sample whose it is", path)
    return names
