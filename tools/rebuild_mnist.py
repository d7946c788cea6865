"""How the sample that comes with the clone was made, and makes it again: `python -m tools.rebuild_mnist IDX_DIR`.

The rule of selection stands in `data/README.md` in words and in `build_sample` in code.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from fedkit.base.errors import FedkitError
from fedkit.base.files import sha256_bytes, write_bytes
from fedkit.data.idx import read_mnist
from fedkit.data.mnist import SAMPLE_NAME, SAMPLE_SHA256, data_dir

__all__ = ["build_sample", "pack", "rebuild"]


TRAIN_PER_DIGIT, TEST_PER_DIGIT = 1000, 200


def build_sample(
    folder: Path, train_per_digit: int = TRAIN_PER_DIGIT, test_per_digit: int = TEST_PER_DIGIT
) -> bytes:
    """The content of the sample's npz file, from the four raw files in `folder`.

    Of the n images of a digit, in the order of the raw file, those at floor(i n / k) are kept, for i = 0 .. k-1 with
    k = `train_per_digit` (`test_per_digit`): evenly from the whole file, since the start of the test file
    is harder than its rest. The order stays. The same arrays and the same zlib give the same bytes. Raises FedkitError.
    """
    arrays: dict[str, NDArray[np.uint8]] = {}
    for part, prefix, per_digit in (
        ("train", "train", train_per_digit),
        ("test", "t10k", test_per_digit),
    ):
        images = read_mnist(folder, f"{prefix}-images-idx3-ubyte")[1]
        labels = read_mnist(folder, f"{prefix}-labels-idx1-ubyte")[1]
        found = [np.flatnonzero(labels == digit) for digit in range(10)]
        for digit, where in enumerate(found):
            if len(where) < per_digit:
                raise FedkitError(
                    f"has {len(where)} images of the digit {digit}, fewer than {per_digit}",
                    file=folder / f"{prefix}-labels-idx1-ubyte",
                    remedy="use MNIST's own raw files",
                )
        spread = [where[np.arange(per_digit) * len(where) // per_digit] for where in found]
        kept = np.sort(np.concatenate(spread))
        arrays |= {f"{part}_images": images[kept], f"{part}_labels": labels[kept]}
    return pack(arrays)


def rebuild(folder: Path) -> Path:
    """Make the sample anew from the raw files in `folder`; returns its path.

    Raises FedkitError, and leaves the old file as it is, if the result is not the one that this package expects.
    """
    data = build_sample(folder)
    path = data_dir() / SAMPLE_NAME
    if sha256_bytes(data) != SAMPLE_SHA256:
        raise FedkitError(
            f"would have another SHA-256 ({sha256_bytes(data)}); it was not written",
            file=path,
            why=f"Its images are the same, but this Python's zlib {zlib.ZLIB_RUNTIME_VERSION} packs them differently, "
            "or the rule of selection was changed",
            remedy="use the file that comes with the clone; if the rule was changed, change SAMPLE_SHA256 with it",
        )
    write_bytes(path, data)
    return path


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as the bytes of an npz file without a trace of when or on which system it was made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # else it tells Windows from Unix
            entry.external_attr = 0o644 << 16
            content = io.BytesIO()
            np.lib.format.write_array(
                content, np.ascontiguousarray(array), (1, 0), allow_pickle=False
            )
            archive.writestr(entry, content.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def main(
    folder: Annotated[
        Path,
        typer.Argument(metavar="IDX_DIR", help="folder of MNIST's four raw files, plain or .gz"),
    ],
) -> None:
    """Make data/mnist_12k.npz from MNIST's raw IDX files, byte for byte."""
    try:
        path = rebuild(folder)
    except FedkitError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{path}: {path.stat().st_size:,} bytes, SHA-256 {SAMPLE_SHA256}")


if __name__ == "__main__":
    typer.run(main)
