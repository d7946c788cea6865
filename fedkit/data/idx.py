"""MNIST's own file format, IDX: four bytes of magic, one big-endian size a dimension, then the values.

Only what MNIST needs: unsigned bytes. Every size is checked against the file before anything is believed.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedkit.base.errors import Unreadable
from fedkit.base.files import read_bytes, sha256_bytes

__all__ = ["RAW_FILES", "parse_idx", "read_mnist"]

MAX_RAW_BYTES = 2**26  # the largest raw file, the training images, has 47,040,016 bytes
_UNSIGNED_BYTE = 0x08
_COPY_AGAIN = "copy or download it again"
_OWN_FILES = "use MNIST's own raw files"

Shape = tuple[int, ...]
# Name -> (shape, SHA-256 unpacked). Other sets (Fashion-MNIST) use the same names and shapes.
RAW_FILES: dict[str, tuple[Shape, str]] = {
    "train-images-idx3-ubyte": (
        (60_000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train-labels-idx1-ubyte": (
        (60_000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "t10k-images-idx3-ubyte": (
        (10_000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "t10k-labels-idx1-ubyte": (
        (10_000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}


def read_mnist(folder: Path, name: str) -> tuple[bytes, NDArray[np.uint8]]:
    """One of MNIST's four raw files, its bytes and its array; raises Unreadable if it is anything else."""
    path, data = read_raw(folder, name)
    array = parse_idx(data, path)
    shape, digest = RAW_FILES[name]
    if array.shape != shape:
        raise Unreadable(
            f"holds {list(array.shape)} values, MNIST's has {list(shape)}",
            file=path,
            field="size",
            remedy=_OWN_FILES,
        )
    if sha256_bytes(data) != digest:
        raise Unreadable(
            "has the right size, but is not MNIST's (its SHA-256 differs)",
            file=path,
            why="Fashion-MNIST and others use the same file names",
            remedy=_OWN_FILES,
        )
    return data, array


def read_raw(folder: Path, name: str) -> tuple[Path, bytes]:
    """The content of `folder/name`, or of `folder/name.gz` unpacked, and which of the two files it was.

    Raises Unreadable if neither is there, or if it can't be unpacked or has more than 64 MiB.
    """
    for path in (folder / name, folder / f"{name}.gz"):
        try:
            data = read_bytes(path, max_bytes=MAX_RAW_BYTES)
        except FileNotFoundError:
            continue
        return path, _unpack(data, path) if path.suffix == ".gz" else data
    raise Unreadable(
        "is not there, nor is the same with .gz",
        file=folder / name,
        remedy="name the folder that holds MNIST's four raw files, packed or unpacked",
    )


def parse_idx(data: bytes, file: Path | str) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes: uint8, as many dimensions as its header says (1 to 4), read-only.

    Raises Unreadable, naming `file`, if the magic number or the size is wrong.
    """
    if len(data) < 4 or data[:2] != b"\0\0" or not 1 <= data[3] <= 4:
        raise Unreadable(
            f"is not an IDX file (it starts with {data[:4].hex(' ') or 'nothing'})",
            file=file,
            field="magic",
            remedy=_COPY_AGAIN,
        )
    if data[2] != _UNSIGNED_BYTE:
        raise Unreadable(
            f"holds values of IDX type {data[2]:#04x}, not unsigned bytes (0x08)",
            file=file,
            field="magic",
            remedy=_OWN_FILES,
        )
    start = 4 + 4 * data[3]
    # a header cut short is read as zeros; its size can't fit either
    shape = struct.unpack(f">{data[3]}I", data[4:start].ljust(start - 4, b"\0"))
    size = start + math.prod(shape)
    if len(data) != size:
        raise Unreadable(
            f"has {len(data):,} bytes, but its header asks for {size:,}",
            file=file,
            field="size",
            remedy=_COPY_AGAIN,
        )
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def _unpack(data: bytes, path: Path) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            unpacked = packed.read(MAX_RAW_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"can't be unpacked ({error})", file=path, remedy=_COPY_AGAIN) from error
    if len(unpacked) > MAX_RAW_BYTES:
        raise Unreadable(
            f"unpacks to more than {MAX_RAW_BYTES:,} bytes", file=path, remedy=_OWN_FILES
        )
    return unpacked
