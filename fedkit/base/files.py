"""The only door for bytes: whatever fedkit reads or writes on a datasite passes through here.

* A write is whole or not at all: a hidden scratch file beside the target, each writer its own, then `os.replace`. A
  process killed in between leaves the old file (there is no fsync: a power cut is another matter), and its scratch file
  to whoever writes there next.
* A reader treats an unreadable file as "not there yet": its writer may still be busy.
* A stranger's bytes are data: tensors load with `weights_only=True` and a size limit, and links are not followed.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedkit.base import scratch
from fedkit.base.errors import FedkitError, Unreadable
from fedkit.base.scratch import patiently, put
from fedkit.base.tensors import MAX_STATE_BYTES, load_pair, load_state, state_bytes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "MAX_JSON_BYTES",
    "is_file",
    "is_folder",
    "is_link",
    "is_writable",
    "line_before",
    "load_state",
    "read_bytes",
    "read_dataset",
    "read_json",
    "read_object",
    "read_own",
    "read_state",
    "refuse_links",
    "remove",
    "sha256_bytes",
    "state_bytes",
    "write_bytes",
    "write_dataset",
    "write_json",
    "write_state",
]


MAX_JSON_BYTES = 10 * 2**20
MAX_STRANGERS_JSON_BYTES = 2**20
"""Of what others write: JSON takes up to 25 times its length in memory, and time that grows with it."""
MAX_DATASET_BYTES = 2**31

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_LONGEST = 259  # characters of a path, where Windows has not been told to take longer ones
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


def is_folder(path: Path) -> bool:
    """True for a folder; what can't be looked at is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_writable(folder: Path) -> bool:
    """May files be put into this folder, and taken out?"""
    as_now = os.access in os.supports_effective_ids
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=as_now)


def write_bytes(path: Path, data: bytes, *, root: Path | None = None, mode: int = 0o644) -> None:
    """Write `data` whole or not at all; missing folders are made. mode : who may do what with it on this machine.

    Raises FedkitError if the disk is full or read-only, or if a folder between `root` and `path` is a link.
    """
    try:
        refuse_links(path.parent, root)
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path, data, mode)
    except (OSError, ValueError) as error:
        why = "The file that was there before is unchanged"
        raise _by_the_disk("written", path, error, why) from error


def read_bytes(
    path: Path,
    *,
    root: Path | None = None,
    max_bytes: int = MAX_STATE_BYTES,
    absent: str | None = None,
) -> bytes:
    """The content of a regular file of at most `max_bytes` bytes.

    Raises FileNotFoundError if there is none, Unreadable if it is too large, no regular file, or a link; so is it where a
    folder between `root` and `path` is a link. absent : what a person can do where there is none, for a FedkitError.
    """
    refuse_links(path.parent, root)
    try:
        number = os.open(path, os.O_RDONLY | _NO_FOLLOW | _NO_WAIT)
    except (FileNotFoundError, NotADirectoryError):
        if absent is not None:
            raise FedkitError("is not there", file=path, remedy=absent) from None
        raise FileNotFoundError(path) from None
    except (OSError, ValueError) as error:
        if is_link(path):
            raise _link(path) from error
        what = f"can't be read ({_reason(error)})"
        raise Unreadable(what, file=path, remedy="check its permissions") from error
    try:
        info = os.fstat(number)
        if not stat.S_ISREG(info.st_mode):
            raise Unreadable("is not a regular file", file=path, remedy="replace it by a file")
        if info.st_size > max_bytes:
            raise Unreadable(
                f"has {info.st_size:,} bytes, more than the {max_bytes:,} that it may have",
                file=path,
                remedy="check that it is the file you mean",
            )
        with os.fdopen(number, "rb", closefd=False) as handle:
            return handle.read(info.st_size)
    finally:
        os.close(number)


@contextmanager
def line_before(path: Path, line: str) -> Iterator[None]:
    """Add a line of ASCII to a file, then do what it tells of; where the block raises a FedkitError, that did not happen,
    and the line is taken out again. One that was cut off before is ended first. Raises FedkitError.
    """
    try:
        with path.open("a+b") as handle:
            length = handle.tell()
            if length:
                handle.seek(-1, os.SEEK_END)
            cut_off = handle.read(1) not in (b"", b"\n")
            handle.write(b"\n" * cut_off + line.encode("ascii") + b"\n")
    except OSError as error:
        raise _by_the_disk("written", path, error) from error
    try:
        yield
    except FedkitError:
        with contextlib.suppress(OSError):
            os.truncate(path, length)
        raise


def write_json(
    path: Path, value: object, *, root: Path | None = None, indent: int | None = 4
) -> None:
    """Write `value` as indented JSON, in ASCII: any text survives; NaN and infinities are refused (ValueError)."""
    write_bytes(path, json.dumps(value, indent=indent, allow_nan=False).encode(), root=root)


def read_json(path: Path, *, root: Path | None = None, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """The JSON value in `path`, or None where there is no readable one (yet)."""
    try:
        return json.loads(read_bytes(path, root=root, max_bytes=max_bytes))
    except (FileNotFoundError, FedkitError, ValueError, RecursionError):
        return None


def read_object(
    path: Path, *, root: Path | None = None, max_bytes: int = MAX_JSON_BYTES
) -> dict[str, Any]:
    """The JSON object in `path`, empty where there is no readable one (yet)."""
    values = read_json(path, root=root, max_bytes=max_bytes)
    return values if isinstance(values, dict) else {}


def same_content(one: Path, other: Path) -> bool:
    """Are two files alike, byte for byte? Read again only where size or time have changed (`filecmp`)."""
    try:
        return is_file(other) and filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def read_own(path: Path, what: str, remedy: str, *, root: Path | None = None) -> Any:
    """The JSON value in a file that fedkit wrote here itself, None where there is none: it is never half-written.

    Raises Unreadable, "is no <what>" with this remedy, where something else lies there.
    """
    try:
        value = json.loads(read_bytes(path, root=root, max_bytes=MAX_JSON_BYTES))
        if value is None:
            raise ValueError
    except FileNotFoundError:
        return None
    except FedkitError as error:
        raise Unreadable(f"is no {what}: it {error.what}", file=path, remedy=remedy) from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"is no {what}: it is no JSON", file=path, remedy=remedy) from error
    return value


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


def write_dataset(path: Path, images: Tensor, labels: Tensor) -> None:
    """Save (images float32 [N,1,28,28] in 0..1, labels int64 [N]) as the real apps read it."""
    import torch

    buffer = io.BytesIO()
    torch.save((images.contiguous().clone(), labels.contiguous().clone()), buffer)
    write_bytes(path, buffer.getvalue())


def read_dataset(path: Path, *, root: Path | None = None) -> tuple[Tensor, Tensor]:
    """Load a pair (images, labels) of tensors; `fedkit.data.check_dataset` looks at what is in them.

    Raises FileNotFoundError, or Unreadable if the file holds anything else.
    """
    data = read_bytes(path, root=root, max_bytes=MAX_DATASET_BYTES)
    return load_pair(data, path, max_bytes=MAX_DATASET_BYTES)


def remove(path: Path, *, root: Path | None = None) -> None:
    """Remove a file if it is there. Raises FedkitError as `write_bytes` does."""
    try:
        refuse_links(path.parent, root)
        patiently(lambda: path.unlink(missing_ok=True))
    except NotADirectoryError:
        return
    except OSError as error:
        raise _by_the_disk("removed", path, error) from error


def is_link(path: Path | str) -> bool:
    """Is there a link, of either kind that Windows has?"""
    try:
        info = os.lstat(path)
    except (OSError, ValueError):
        return False
    junction = getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", None)  # Windows' other kind of link
    return stat.S_ISLNK(info.st_mode) or (
        junction is not None and getattr(info, "st_reparse_tag", 0) == junction
    )


def _link(path: Path | str) -> Unreadable:
    return Unreadable(
        "is a link, and links are not followed", file=path, remedy="replace it by what it leads to"
    )


def refuse_links(folder: Path, root: Path | None) -> None:
    """Raises Unreadable if a link leads from `root` to `folder`: what lies behind one may be anybody's."""
    if root is None:
        return
    place, whole = str(root), str(folder)
    parts: Sequence[str]
    if whole.startswith(place + os.sep):  # as text, since this runs for every file that is read
        parts = whole[len(place) + 1 :].split(os.sep)  # noqa: PTH206
    elif folder.is_relative_to(root):
        parts = folder.relative_to(root).parts
    else:
        raise Unreadable("lies outside", file=folder, why=f"Only {root} is open", remedy="move it")
    for part in parts:
        place = f"{place}{os.sep}{part}"
        if part == ".." or is_link(place):
            raise _link(place)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _by_the_disk(what: str, path: Path, error: Exception, why: str | None = None) -> FedkitError:
    number, first = getattr(error, "errno", None), "put that right"
    if number in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
        first = "free some space on the disk"
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        first = "make the folder writable for you"
    if number in (errno.EEXIST, errno.ENOTDIR):
        first = f"move away the file that lies where a folder belongs, at {path.parent} or above it"
    if number == errno.EISDIR:
        first = "move away the folder of that name"
    if (
        scratch.WINDOWS
        and number in (errno.ENOENT, errno.EINVAL)
        and len(str(path.absolute())) > _LONGEST
    ):
        why = f"A path has {len(str(path.absolute()))} characters, and Windows takes {_LONGEST}"
        first = (
            "choose a data dir with a shorter path, or turn on Windows' setting LongPathsEnabled"
        )
    remedy = f"{first}, then run the same command again"
    return FedkitError(f"can't be {what} ({_reason(error)})", file=path, why=why, remedy=remedy)
