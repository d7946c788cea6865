"""A participant's private digits as files: `mnist_label_0.pt` to `mnist_label_9.pt`, as the real client reads them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_dataset, write_dataset
from fedkit.base.names import DATA_FILE

__all__ = ["Shard", "as_float", "check_dataset", "read_shard", "write_shard", "wrong"]

Shard = tuple[Tensor, Tensor]
"""(images float32 [N,1,28,28] in 0..1, labels int64 [N])"""


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


def write_shard(folder: Path, shard: Shard) -> list[Path]:
    """Write `mnist_label_d.pt` for each digit d in the shard; returns the files.

    A file of the same name is replaced; files of digits that the shard does not have stay, and `read_shard` will read
    them too. Raises FedkitError if the shard is none, before anything is written.
    """
    images, labels = shard
    check_dataset(images, labels, folder)
    written = []
    for digit in labels.unique(sorted=True).tolist():
        chosen = labels == digit
        path = Path(folder) / f"mnist_label_{digit}.pt"
        write_dataset(path, images[chosen], labels[chosen])
        written.append(path)
    return written


def read_shard(folder: Path) -> Shard:
    """All data files of a folder, in the order of their names, as one shard.

    Raises FedkitError, naming the file, if one holds anything but digits, is a link, or if there is none.
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
            "holds no mnist_label_0.pt to mnist_label_9.pt",
            file=folder,
            remedy="put training data there, for example from `fedkit data samples --out DIR`",
        )
    parts = []
    for path in paths:
        images, labels = read_dataset(path)
        check_dataset(images, labels, path)
        parts.append((images.detach(), labels))
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def check_dataset(images: Tensor, labels: Tensor, file: Path | str) -> None:
    """Look at a stranger's data before it is used: images float32 [N,1,28,28] in 0..1, labels int64 [N] in 0..9, N >= 1.

    Raises FedkitError that names `file`, the field and the remedy.
    """

    _check_storage("images", images, torch.float32, file)
    _check_storage("labels", labels, torch.int64, file)
    if images.dim() != 4 or images.shape[1:] != (1, 28, 28):
        what = f"have shape {list(images.shape)}, not [N,1,28,28]"
        raise wrong("images", what, "reshape: images.reshape(-1, 1, 28, 28)", file)
    if labels.dim() != 1:
        what = f"have shape {list(labels.shape)}, not [N]"
        raise wrong("labels", what, "reshape: labels.reshape(-1)", file)
    if len(images) != len(labels):
        what = f"are {len(labels)} for {len(images)} images"
        raise wrong("labels", what, "save one label for each image", file)
    if not len(images):
        remedy = "put in at least one image, or remove the file"
        raise wrong("images", "are empty", remedy, file)
    low, high = (float(value) for value in torch.aminmax(images.detach()))
    if low != low or high != high:
        remedy = "find out where it comes from, and save the images without it"
        raise wrong("images", "hold NaN", remedy, file)
    if low < 0 or high > 1:
        what = f"range from {low:g} to {high:g}, not within 0..1"
        raise wrong("images", what, "divide bytes by 255 first", file)
    first, last = (int(value) for value in torch.aminmax(labels))
    if first < 0 or last > 9:
        what = f"range from {first} to {last}, not within 0..9"
        raise wrong("labels", what, "label each image with its digit", file)


def _check_storage(field: str, tensor: Tensor, dtype: torch.dtype, file: Path | str) -> None:
    """A plain tensor of `dtype` whose numbers are all really there (a view may repeat one number without end)."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise wrong(field, "are no plain tensor", f"save {field}.to_dense().cpu() instead", file)
    if tensor.dtype != dtype:
        remedy = f"save {field}.to({dtype}) instead"
        raise wrong(field, f"are {tensor.dtype}, not {dtype}", remedy, file)
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        what = "repeat the same numbers in place of storing them"
        raise wrong(field, what, f"save {field}.clone() instead", file)
