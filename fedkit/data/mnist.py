"""MNIST itself: a sample that comes with fedkit, and the full set where it was fetched.

LeCun, Cortes, Burges: the MNIST database of handwritten digits; LeCun et al. 1998, "Gradient-based learning applied to
document recognition". data/README.md has source, licence and selection rule.
"""

from __future__ import annotations

import io
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fedkit.base.distribution import DISTRIBUTION, clone, course_files, need
from fedkit.base.errors import FedkitError, Unreadable
from fedkit.base.files import read_bytes, sha256_bytes, write_bytes
from fedkit.data.idx import RAW_FILES, read_mnist

__all__ = [
    "MNIST",
    "SAMPLE_NAME",
    "SAMPLE_SHA256",
    "data_dir",
    "full_dir",
    "install_full",
    "load_mnist",
]

SAMPLE_NAME = "mnist_12k.npz"
SAMPLE_SHA256 = "784379812a07827e0a9f052ac866c682e99a9184b96b0bcc88bdfeb1d49a820e"
MAX_SAMPLE_BYTES = 2**24


@dataclass(frozen=True, eq=False)
class MNIST:
    """Handwritten digits as they are stored: images uint8 [N,28,28] (0 paper, 255 ink), labels int64 [N] in 0..9."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    name: str


def data_dir() -> Path:
    """The folder of the sample: `FEDKIT_DATA` where that is set, else `data/` of the clone, or of the wheel."""
    named = os.environ.get("FEDKIT_DATA")
    return Path(named) if named else course_files() / "data"


def full_dir() -> Path:
    """The folder of the full set: as the sample's; beside an installed wheel it is the user's own, `~/.fedkit/data`."""
    if os.environ.get("FEDKIT_DATA") or clone() is not None:
        return data_dir()
    return Path.home() / ".fedkit" / "data"


def load_mnist(full: bool | Literal["auto"] | None = None) -> MNIST:
    """MNIST's digits: the sample of 1,000 training and 200 test images a digit unless asked otherwise.

    full : None or False for the sample, the same everywhere (so that numbers can be compared); True for the full
        60,000/10,000, an error where they were not fetched; "auto" for the full set where it is, else the sample.

    Raises FedkitError if the files are missing or are not the ones that they should be.
    """
    if full not in (None, True, False, "auto"):
        raise FedkitError(
            f"must be True, False, None or 'auto', not {full!r}",
            field="full",
            remedy="leave it out for the sample that comes with fedkit",
        )
    if full is True or (full == "auto" and _full_is_there()):
        return _load_full()
    return _load_sample()


def install_full(source: Path | None = None) -> list[Path]:
    """Put the full set where `torchvision.datasets.MNIST` finds it; returns the four raw files.

    Copies from the folder `source` (raw files, unpacked or .gz), else downloads through torchvision. What is already
    there and whole is left alone. Raises FedkitError, and copies nothing unless all four files are MNIST's.
    """
    target = full_dir() / "MNIST" / "raw"
    if source is not None:
        contents = {name: read_mnist(source, name)[0] for name in RAW_FILES}
        for name, data in contents.items():
            write_bytes(target / name, data)
    elif not _full_is_there():
        _download()
    for name in RAW_FILES:
        read_mnist(target, name)
    return [target / name for name in RAW_FILES]


def _load_sample() -> MNIST:
    path = data_dir() / SAMPLE_NAME
    put_back = (
        f"install {DISTRIBUTION} anew"
        if clone() is None
        else f"restore it with `git checkout -- data/{SAMPLE_NAME}`"
    )
    remedy = f"{put_back}, or set FEDKIT_DATA to the folder that has it"
    data = read_bytes(path, max_bytes=MAX_SAMPLE_BYTES, absent=remedy)
    digest = sha256_bytes(data)
    if digest != SAMPLE_SHA256:
        raise Unreadable(
            "is not the file that this package was made with",
            file=path,
            why=f"Its SHA-256 is {digest[:12]}…, expected is {SAMPLE_SHA256[:12]}…",
            remedy=remedy,
        )
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return MNIST(
            torch.from_numpy(arrays["train_images"]),
            torch.from_numpy(arrays["train_labels"]).long(),
            torch.from_numpy(arrays["test_images"]),
            torch.from_numpy(arrays["test_labels"]).long(),
            "MNIST sample",
        )


def _full_is_there() -> bool:
    return all((full_dir() / "MNIST" / "raw" / name).is_file() for name in RAW_FILES)


def _load_full() -> MNIST:
    raw = full_dir() / "MNIST" / "raw"
    if not _full_is_there():
        raise FedkitError(
            "the full MNIST is not there",
            file=raw,
            remedy="run `fedkit data full`, or leave out full=True for the sample that comes with fedkit",
        )
    try:
        parts = {name: torch.from_numpy(read_mnist(raw, name)[1].copy()) for name in RAW_FILES}
    except Unreadable as error:
        raise Unreadable(
            f"can't be read as MNIST ({error.file and error.file.name} {error.what})",
            file=raw,
            why=error.why,
            remedy="remove this folder and run `fedkit data full` again",
        ) from error
    return MNIST(
        parts["train-images-idx3-ubyte"],
        parts["train-labels-idx1-ubyte"].long(),
        parts["t10k-images-idx3-ubyte"],
        parts["t10k-labels-idx1-ubyte"].long(),
        "MNIST",
    )


def _download() -> None:
    need("the download of the full MNIST", "torchvision")
    from torchvision.datasets import MNIST as Torchvision

    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30.0)  # torchvision would wait for ever where packets vanish
    try:
        Torchvision(full_dir(), download=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise FedkitError(
            "the full MNIST could not be downloaded",
            file=full_dir() / "MNIST" / "raw",
            why=f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no answer'}",
            remedy="get the four raw files where the internet is open, then `fedkit data full --from DIR`",
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
