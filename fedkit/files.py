"""The only door for bytes: whatever fedkit reads or writes on a datasite passes through here.

* A write is whole or not at all: a hidden `.name.tmp` beside the target, then `os.replace`. A process killed in
  between leaves the old file (there is no fsync: a power cut is another matter).
* A reader treats an unreadable file as "not there yet": its writer may still be busy.
* A stranger's bytes are data: tensors load with `weights_only=True` and a size limit, and links are not followed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import stat
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fedkit.errors import FedkitError, Unreadable

__all__ = [
    "MAX_DATASET_BYTES",
    "is_file",
    "read_bytes",
    "read_dataset",
    "read_json",
    "read_state",
    "remove",
    "sha256_bytes",
    "write_bytes",
    "write_dataset",
    "write_json",
    "write_state",
]

MAX_JSON_BYTES = 10 * 2**20
MAX_STATE_BYTES = 2**30
MAX_DATASET_BYTES = 2**31

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # a named pipe must not hang us


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of `data`, in hex."""
    return hashlib.sha256(data).hexdigest()


def is_file(path: Path) -> bool:
    """True for a regular file; a link is none, and neither is what can't be looked at."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def write_bytes(path: Path, data: bytes, *, root: Path | None = None) -> None:
    """Write `data` whole or not at all; missing folders are made.

    Raises FedkitError if the disk is full or read-only, or if `path` leads out of `root` through a link.
    """
    tmp = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _must_be_inside(path.parent, root)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_FOLLOW
        with os.fdopen(os.open(tmp, flags, 0o644), "wb") as handle:
            handle.write(data)
        tmp.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            tmp.unlink(missing_ok=True)
        raise FedkitError(
            f"can't be written ({error.strerror or error})",
            file=path,
            why="The file that was there before is unchanged",
            remedy=_disk_remedy(error),
        ) from error


def read_bytes(path: Path, *, root: Path | None = None, max_bytes: int = MAX_STATE_BYTES) -> bytes:
    """The content of a regular file of at most `max_bytes` bytes.

    Raises FileNotFoundError if there is none, Unreadable if it is a link, not a regular file, too large, or leads out
    of `root`.
    """
    _must_be_inside(path.parent, root)
    try:
        handle = os.fdopen(os.open(path, os.O_RDONLY | _NO_FOLLOW | _NO_WAIT), "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        link = error.errno in (errno.ELOOP, errno.EMLINK) or path.is_symlink()
        raise Unreadable(
            "is a link, and links are not followed"
            if link
            else f"can't be read ({error.strerror})",
            file=path,
            remedy="replace the link by a copy of the file" if link else "check its permissions",
        ) from error
    with handle:
        info = os.fstat(handle.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise Unreadable("is not a regular file", file=path, remedy="replace it by a file")
        if info.st_size > max_bytes:
            raise Unreadable(
                f"has {info.st_size:,} bytes, more than the {max_bytes:,} that it may have",
                file=path,
                remedy="check that it is the file you mean",
            )
        return handle.read(max_bytes + 1)


def write_json(path: Path, value: object, *, root: Path | None = None) -> None:
    """Write `value` as indented UTF-8 JSON; NaN and infinities are refused (ValueError)."""
    text = json.dumps(value, indent=4, ensure_ascii=False, allow_nan=False)
    write_bytes(path, text.encode(), root=root)


def read_json(path: Path, *, root: Path | None = None) -> Any:
    """The JSON value in `path`, or None where there is no readable one (yet)."""
    try:
        return json.loads(read_bytes(path, root=root, max_bytes=MAX_JSON_BYTES))
    except (FileNotFoundError, FedkitError, ValueError, RecursionError):
        return None


def state_bytes(state: Mapping[str, Tensor]) -> bytes:
    """A state dict in the form that `torch.save` gives it; equal tensors give equal bytes."""
    buffer = io.BytesIO()
    torch.save({name: value.detach().clone() for name, value in state.items()}, buffer)
    return buffer.getvalue()


def write_state(path: Path, state: Mapping[str, Tensor], *, root: Path | None = None) -> bytes:
    """Save a state dict (name -> tensor, any dtype) whole or not at all; returns the bytes written."""
    data = state_bytes(state)
    write_bytes(path, data, root=root)
    return data


def read_state(
    path: Path, *, root: Path | None = None, max_bytes: int = MAX_STATE_BYTES
) -> dict[str, Tensor]:
    """Load a state dict as tensors only (`weights_only=True`): no code in the file ever runs.

    Raises FileNotFoundError, or Unreadable if the bytes are no state dict, hold code, or unpack to more than `max_bytes`.
    """
    return load_state(read_bytes(path, root=root, max_bytes=max_bytes), path, max_bytes=max_bytes)


def load_state(data: bytes, path: Path, *, max_bytes: int = MAX_STATE_BYTES) -> dict[str, Tensor]:
    """`read_state` for bytes already read from `path`."""
    value = _load(data, path, max_bytes)
    if not isinstance(value, Mapping) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items()
    ):
        raise Unreadable(
            f"holds a {type(value).__name__}, not a state dict (name -> tensor)",
            file=path,
            remedy="save it with torch.save(model.state_dict(), path)",
        )
    return dict(value)


def write_dataset(path: Path, images: Tensor, labels: Tensor) -> None:
    """Save (images float32 [N,1,28,28] in 0..1, labels int64 [N]) as the real apps read it."""
    buffer = io.BytesIO()
    torch.save((images.contiguous().clone(), labels.contiguous().clone()), buffer)
    write_bytes(path, buffer.getvalue())


def read_dataset(path: Path, *, root: Path | None = None) -> tuple[Tensor, Tensor]:
    """Load a pair (images, labels) of tensors; `fedkit.data.check_dataset` looks at what is in them.

    Raises FileNotFoundError, or Unreadable if the file holds anything else.
    """
    data = read_bytes(path, root=root, max_bytes=MAX_DATASET_BYTES)
    value = _load(data, path, MAX_DATASET_BYTES)
    pair = isinstance(value, tuple | list) and len(value) == 2
    if not (pair and all(isinstance(part, Tensor) for part in value)):
        raise Unreadable(
            f"holds a {type(value).__name__}, not a pair of tensors (images, labels)",
            file=path,
            remedy="save it with torch.save((images, labels), path)",
        )
    return value[0], value[1]


def remove(path: Path) -> None:
    """Remove a file if it is there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise FedkitError(
            f"can't be removed ({error.strerror})", file=path, remedy=_disk_remedy(error)
        ) from error


def _load(data: bytes, path: Path, max_bytes: int) -> Any:
    try:
        if zipfile.is_zipfile(io.BytesIO(data)):
            unpacked = sum(item.file_size for item in zipfile.ZipFile(io.BytesIO(data)).infolist())
            if unpacked > max_bytes:
                raise ValueError(f"it unpacks to {unpacked:,} bytes, more than {max_bytes:,}")
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for bad bytes
        unsafe = "weights_only" in str(error) or "Unsupported" in str(error)
        raise Unreadable(
            "holds more than tensors; nothing in it was run"
            if unsafe
            else "can't be read as tensors",
            file=path,
            why=None
            if unsafe
            else f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
            if str(error)
            else None,
            remedy="save tensors only, with torch.save(model.state_dict(), path)"
            if unsafe
            else "it may be truncated: copy it again",
        ) from error


@lru_cache(maxsize=256)
def _real(root: Path) -> Path:
    return root.resolve()


def _must_be_inside(folder: Path, root: Path | None) -> None:
    if root is not None and not folder.resolve().is_relative_to(_real(root)):
        raise Unreadable(
            "leads out of its data dir through a link", file=folder, remedy="remove the link"
        )


def _disk_remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
        return "free some space on the disk, then run the same command again"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "make the folder writable for you, then run the same command again"
    return "put that right, then run the same command again"
