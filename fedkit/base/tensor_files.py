"""What a file of `torch.save` holds, told without torch: names, dtypes and shapes, in a fraction of a millisecond.

The file is a zip archive of a pickle and of each storage's numbers; before torch 1.6 it was several pickles in a row and
the numbers behind them. Every byte is accounted for here, so that torch, which looks for things in its own way, can only
find what was measured: entries that follow each other without a gap, each stored once and uncompressed, each storage as
long as it is said to be, each tensor inside its storage, no number of it in two places. Names may share a storage, as
tied weights do, and a recurrent network's; what they would take apart is what counts against the limit.

Nothing is built, and nothing in the file ever runs: see `tensor_pickle`.
"""

from __future__ import annotations

import contextlib
import io
import re
import struct
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedkit.base import tensor_remedies as remedies
from fedkit.base.errors import Unreadable
from fedkit.base.tensor_pickle import (
    MAX_OPCODES,
    MAX_TENSORS,
    NOT_TORCHS,
    TOO_LONG,
    TOO_MANY,
    Broken,
    Foreign,
    Pickled,
    PickledTensor,
    Storage,
    read_pickle,
)

__all__ = ["MAX_STATE_BYTES", "broken", "inspect_pair", "inspect_state", "not_plain"]


MAX_STATE_BYTES = 2**30

_MAX_PICKLE_BYTES = 2**23

Form = tuple[str, tuple[int, ...]]
"""A tensor's dtype ("float32") and shape."""


def inspect_state(data: bytes, path: Path, *, max_bytes: int = MAX_STATE_BYTES) -> dict[str, Form]:
    """Name -> (dtype, shape) of a state dict in bytes that were read from `path`: no torch, and nothing is built.

    Raises Unreadable where `load_state` does, with the same text.
    """
    with _refused(path, remedies.TENSORS_OF_A_STATE):
        found = _read(data, max_bytes)
    state = found.value
    if (type(state) is not dict and type(state) is not OrderedDict) or not all(
        type(name) is str and type(value) is PickledTensor for name, value in state.items()
    ):
        raise Unreadable(
            f"holds a {_kind(state)}, not a state dict (name -> tensor)",
            file=path,
            remedy=remedies.of_state(state) or "save it with torch.save(model.state_dict(), path)",
        )
    for name, tensor in state.items():
        if not tensor.plain:
            raise not_plain(name, path)
        if _repeats(tensor):
            shape, stride = f"{list(tensor.shape)!s:.60}", f"{list(tensor.stride)!s:.60}"
            raise Unreadable(
                f"{_shown(name)} has shape {shape} with strides {stride}, which repeat the same numbers",
                file=path,
                remedy="save clones: {name: value.clone() for name, value in model.state_dict().items()}",
            )
    with _refused(path):
        _check_sizes(found, state.values(), max_bytes)
    return {name: (tensor.dtype, tensor.shape) for name, tensor in state.items()}


def inspect_pair(data: bytes, path: Path, *, max_bytes: int) -> tuple[Form, Form]:
    """The (dtype, shape) of a dataset's images and labels. Raises Unreadable where `load_pair` does, with the same text."""
    with _refused(path, remedies.TENSORS_OF_A_PAIR):
        found = _read(data, max_bytes)
    pair = found.value
    if (
        (type(pair) is not tuple and type(pair) is not list)
        or len(pair) != 2
        or not all(type(part) is PickledTensor for part in pair)
    ):
        raise Unreadable(
            f"holds a {_kind(pair)}, not a pair of tensors (images, labels)",
            file=path,
            remedy=remedies.of_pair(pair) or "save it with torch.save((images, labels), path)",
        )
    for field, tensor in zip(("images", "labels"), pair, strict=True):
        if not tensor.plain:
            raise Unreadable(
                "are no plain tensor",
                file=path,
                field=field,
                remedy=f"save {field}.to_dense().cpu() instead",
            )
        if _repeats(tensor):
            raise Unreadable(
                "repeat the same numbers in place of storing them",
                file=path,
                field=field,
                remedy=f"save {field}.clone() instead",
            )
    with _refused(path):
        _check_sizes(found, pair, max_bytes)
    images, labels = pair
    return (images.dtype, images.shape), (labels.dtype, labels.shape)


def broken(path: Path, why: str) -> Unreadable:
    """No file that `torch.save` wrote, or not all of it."""
    return Unreadable(
        "can't be read as tensors",
        file=path,
        why=why,
        remedy="it may be truncated: copy it again",
    )


def not_plain(name: str, path: Path) -> Unreadable:
    """A tensor that is more, or less, than numbers in memory."""
    return Unreadable(
        f"{_shown(name)} is no plain tensor",
        file=path,
        remedy="save it with torch.save(model.state_dict(), path)",
    )


def _shown(name: str) -> str:
    """A stranger's text: as it is where that is plain to read, else quoted, and not all of it."""
    return name if re.fullmatch(r"[\w.-]{1,80}", name, re.ASCII) else f"{name!r:.80}"


def _kind(value: object) -> str:
    return str(getattr(value, "kind", type(value).__name__))


# ------------------------------------------------------------------------------------------ the file
@dataclass(frozen=True, slots=True)
class _Found:
    """What the pickle in a file describes, and how many bytes the file has for each storage."""

    value: object
    storages: Mapping[str, Storage]
    there: Mapping[str, int]


@contextlib.contextmanager
def _refused(path: Path, remedy: str | None = None) -> Iterator[None]:
    """What the readers below find wrong, said of the file. remedy : for a file that holds more than tensors."""
    try:
        yield
    except Broken as error:
        raise broken(path, str(error)) from error
    except struct.error as error:
        raise broken(path, "EOFError: its end is missing") from error
    except Foreign as error:
        raise Unreadable(
            "holds more than tensors; nothing in it was run",
            file=path,
            remedy=remedy,
        ) from error
    except _Safetensors as error:
        raise Unreadable(
            "is a safetensors file, not one of torch.save",
            file=path,
            remedy=f"write it anew: {remedies.FROM_SAFETENSORS}",
        ) from error


class _Safetensors(Exception):
    """It begins with the length of a JSON object, and that object."""


def _read(data: bytes, max_bytes: int) -> _Found:
    if data[8:10] == b'{"' and int.from_bytes(data[:8], "little") <= len(data) - 8:
        raise _Safetensors
    return _in_zip(data, max_bytes) if data[:4] == _LOCAL else _in_a_row(data)


def _in_zip(data: bytes, max_bytes: int) -> _Found:
    entries = _entries(data, max_bytes)
    for name, form in _NOTES.items():
        if name in entries and not form.fullmatch(data, *entries[name]):
            raise Broken(f"ValueError: its {name.decode()} is not one of torch's")
    if b"data.pkl" not in entries or b"version" not in entries:
        raise Broken(NOT_TORCHS)
    start, end = entries[b"data.pkl"]
    if end - start > _MAX_PICKLE_BYTES:
        raise Broken(TOO_LONG)
    stream = io.BytesIO(data[start:end])
    found = read_pickle(stream, old_format=False, bare=False)
    if stream.tell() != end - start:
        raise Broken(NOT_TORCHS)
    there = {
        name.removeprefix(b"data/").decode(): end - start
        for name, (start, end) in entries.items()
        if name.startswith(b"data/")
    }
    return _Found(found.value, found.storages, there)


_LOCAL, _AFTER, _CENTRAL = b"PK\x03\x04", b"PK\x07\x08", b"PK\x01\x02"
_END, _END_64, _LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_SIZE_LATER, _UTF_8 = 0x8, 0x800
_NOTES = {
    b"version": re.compile(rb"(10|[1-9])\n?"),
    b"byteorder": re.compile(rb"little|big"),
    b".format_version": re.compile(rb"[0-9]{1,4}"),
    b".storage_alignment": re.compile(rb"[0-9]{1,9}"),
    b".data/serialization_id": re.compile(rb"[ -~]{0,100}"),
}
_STORED = re.compile(rb"data/[0-9]{1,20}")


def _entries(data: bytes, max_bytes: int) -> dict[bytes, tuple[int, int]]:
    """Name -> (start, end) of what a zip archive stores. Its list of contents and its entries must say the same."""
    end = len(data) - 22
    mark, disk, first, here, count, size, at, comment = struct.unpack_from("<4s4H2IH", data, end)
    if mark != _END:
        raise Broken("EOFError: its end is missing")
    told = (count, size, at)
    if data[end - 20 : end - 16] == _LOCATOR_64:  # torch writes the list's place twice
        end -= 76
        wide = struct.unpack_from("<4sQ2H2I4Q4sIQI", data, end)
        if (
            wide[0] != _END_64
            or wide[1] != 44
            or wide[4:] != (0, 0, count, *told, _LOCATOR_64, 0, end, 1)
        ):
            raise Broken(NOT_TORCHS)
    if (disk, first, here, comment, at + size) != (0, 0, count, 0, end):
        raise Broken(NOT_TORCHS)
    if count > MAX_TENSORS + len(_NOTES) + 1:
        raise Broken(TOO_MANY)

    listed = []
    for _ in range(count):
        entry = struct.unpack_from("<4s6H3I5H2I", data, at)
        long_name, long_extra, long_comment = entry[10:13]
        listed.append((entry, data[at + 46 : at + 46 + long_name]))
        at += 46 + long_name + long_extra + long_comment
    if at != end:
        raise Broken(NOT_TORCHS)
    if any(name.endswith(b"/constants.pkl") for _, name in listed):  # a TorchScript archive
        raise Foreign
    unpacked = sum(entry[9] for entry, _ in listed)
    if unpacked > max_bytes:
        raise Broken(f"ValueError: it unpacks to {unpacked:,} bytes, more than {max_bytes:,}")

    found: dict[bytes, tuple[int, int]] = {}
    folder, place = listed[0][1].partition(b"/")[0] + b"/" if listed else b"", 0
    if not 1 < len(folder) < 300 or b"\0" in folder:
        raise Broken(NOT_TORCHS)
    for entry, full_name in listed:
        if entry[4]:
            raise Broken("ValueError: it is compressed, which torch.save never does")
        name = full_name.removeprefix(folder)
        known = name in _NOTES or name == b"data.pkl" or _STORED.fullmatch(name)
        if name == full_name or not known or name in found:
            raise Broken(NOT_TORCHS)
        found[name], place = _stored(data, entry, full_name, place)
    if place != told[2]:
        raise Broken(NOT_TORCHS)
    return found


def _stored(
    data: bytes, entry: tuple[Any, ...], name: bytes, place: int
) -> tuple[tuple[int, int], int]:
    """Where an entry's bytes are, and where the next entry begins. What is listed of it must be what stands before it."""
    mark, _, _, flags, _, _, _, crc, packed, size, _, extra, comment, disk, _, kind, at = entry
    local = struct.unpack_from("<4s5H3I2H", data, at)
    start = at + 30 + local[9] + local[10]
    end, later = start + size, flags & _SIZE_LATER
    sound = (
        (mark, packed, extra, comment, disk, at) == (_CENTRAL, size, 0, 0, 0, place)
        and (local[0], local[2], local[3]) == (_LOCAL, flags, 0)
        and data[at + 30 : start - local[10]] == name
        and (local[7:9] == (size, size) or (later and local[7:9] == (0, 0)))
        and not flags & ~(_SIZE_LATER | _UTF_8)
        # of what is marked as a folder torch reads nothing, and hands out what was in memory before
        and not kind & 0xFFFF
    )
    if not sound or (
        later and data[end : end + 16] != struct.pack("<4s3I", _AFTER, crc, size, size)
    ):
        raise Broken(NOT_TORCHS)
    return (start, end), end + 16 * bool(later)


_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def _in_a_row(data: bytes) -> _Found:
    """The format before torch 1.6: a number, a version, the machine, the value, the storages' keys, then their numbers."""
    if not data:
        raise Broken("EOFError: torch.save did not write it")
    stream, bare = io.BytesIO(data[:_MAX_PICKLE_BYTES]), data[:1] == b"\x80"

    def next_one(most: int) -> Pickled:
        return read_pickle(stream, old_format=True, bare=bare, most=most)

    if [next_one(10).value for _ in range(2)] != [_MAGIC, _PROTOCOL]:
        raise Broken(NOT_TORCHS)
    if type(next_one(100).value) is not dict:
        raise Broken(NOT_TORCHS)
    found, keys = next_one(MAX_OPCODES), next_one(4 * MAX_TENSORS).value
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise Broken(NOT_TORCHS)
    at, there = stream.tell(), dict[str, int]()
    for key in keys:
        if key not in found.storages or key in there:
            raise Broken(NOT_TORCHS)
        (numel,) = struct.unpack_from("<Q", data, at)
        there[key] = numel * found.storages[key].itemsize
        at += 8 + there[key]
        if at > len(data):
            raise Broken("EOFError: its end is missing")
    if at != len(data):
        raise Broken("ValueError: more bytes follow than its tensors have")
    return _Found(found.value, found.storages, there)


# --------------------------------------------------------------------------------------- the numbers
def _repeats(tensor: PickledTensor) -> bool:
    """Does a view take a number twice? Seen from the smallest step to the largest, each must lead out of those before."""
    if not tensor.numel:
        return False
    reach = 0
    for step, size in sorted(zip(tensor.stride, tensor.shape, strict=True)):
        if size > 1 and step <= reach:
            return True
        reach += step * (size - 1)
    return False


def _check_sizes(found: _Found, tensors: Collection[PickledTensor], max_bytes: int) -> None:
    """Every storage is in the file with the size that it is said to have, and every tensor lies in its storage."""
    if found.there != {key: s.numel * s.itemsize for key, s in found.storages.items()}:
        raise Broken("ValueError: its numbers are not as many as it says")
    for tensor in tensors:
        assert tensor.storage is not None  # it is plain
        room = tensor.storage.numel * tensor.storage.itemsize
        last = sum(
            (size - 1) * step for size, step in zip(tensor.shape, tensor.stride, strict=True)
        )
        if tensor.numel and (tensor.offset + last + 1) * tensor.itemsize > room:
            raise Broken("ValueError: a tensor in it reaches beyond its numbers")
    unpacked = sum(tensor.numel * tensor.itemsize for tensor in tensors)
    if len(tensors) > MAX_TENSORS:
        raise Broken(TOO_MANY)
    if unpacked > max_bytes:
        raise Broken(f"ValueError: it unpacks to {unpacked:,} bytes, more than {max_bytes:,}")
