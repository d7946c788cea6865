"""The pickle inside a file of `torch.save`, read as a text: what it would build is written down, and nothing is built.

A pickle is a small program for a stack machine. `torch.save` uses some thirty of its instructions and a dozen names;
this reader knows these, with bounds, and no others. torch is not imported.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice

__all__ = [
    "MAX_OPCODES",
    "MAX_TENSORS",
    "NOT_TORCHS",
    "TOO_LONG",
    "TOO_MANY",
    "Broken",
    "Foreign",
    "Pickled",
    "PickledTensor",
    "Storage",
    "read_pickle",
]

MAX_OPCODES = 2**19
MAX_TEXT = 2**20
MAX_TENSORS = 10_000
_MAX_MARKS = 64
_WITH_GRADIENT = ("float", "bfloat", "complex")
_MAX_DIMENSIONS = 64
_LARGEST = 2**62
"""What torch computes of sizes and strides stays in 64 bits."""

_NO_GRADIENT = "ValueError: a tensor in it asks for a gradient that it can't have"
NOT_TORCHS = "UnpicklingError: torch.save did not write it"
TOO_LONG = "ValueError: its description is longer than any model's"
TOO_MANY = f"ValueError: it holds more than {MAX_TENSORS:,} tensors"


class Broken(Exception):
    """No file that `torch.save` wrote, or not all of it; the text says why."""


class Foreign(Exception):
    """It asks for more than tensors, numbers, texts and containers of them."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers in a row; `dtype` is "" where only the tensors on it know what they are."""

    key: str
    dtype: str
    itemsize: int
    numel: int


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """A tensor as it is described: a view of a storage. plain : strided numbers on a processor, and nothing more."""

    dtype: str = ""
    itemsize: int = 0
    shape: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    offset: int = 0
    storage: Storage | None = None
    plain: bool = False
    kind: str = "Tensor"

    @property
    def numel(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Pickled:
    """What a pickle holds, and the storages it speaks of (key -> storage)."""

    value: object
    storages: dict[str, Storage]


@dataclass(frozen=True, slots=True)
class _Global:
    """A name that a pickle calls by its module; it is never looked up."""

    name: str


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a tensor that is not plain: its layout, its device."""

    kind: str


_SIZES = {  # of one number, in bytes
    **dict.fromkeys(["bool", "uint8", "int8", "qint8", "quint8", "quint4x2", "quint2x4"], 1),
    **dict.fromkeys(["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"], 1),
    **dict.fromkeys(["float8_e8m0fnu", "float4_e2m1fn_x2"], 1),
    **dict.fromkeys(["float16", "bfloat16", "int16", "uint16"], 2),
    **dict.fromkeys(["float32", "int32", "uint32", "complex32", "qint32"], 4),
    **dict.fromkeys(["float64", "int64", "uint64", "complex64"], 8),
    "complex128": 16,
}
_TYPED = (
    "Float:float32 Double:float64 Half:float16 BFloat16:bfloat16 Long:int64 Int:int32 Short:int16 Char:int8 Byte:uint8 "
    "Bool:bool ComplexFloat:complex64 ComplexDouble:complex128 QInt8:qint8 QInt32:qint32 QUInt8:quint8 QUInt4x2:quint4x2 "
    "QUInt2x4:quint2x4"
)
_STORAGES = {"torch.storage UntypedStorage": ""} | {
    f"torch {name}Storage": dtype for name, dtype in (pair.split(":") for pair in _TYPED.split())
}
_DTYPES = {f"torch {name}": name for name in _SIZES}
_ORDERED_DICT = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_TENSOR_OF_DTYPE = "torch._utils _rebuild_tensor_v3"
_PARAMETER = "torch._utils _rebuild_parameter"
_ODD = (
    "device_tensor_from_cpu_tensor meta_tensor_no_storage nested_tensor parameter_with_state qtensor sparse_tensor "
    "wrapper_subclass"
)
_NOT_PLAIN = {
    "torch._tensor _rebuild_from_type_v2",
    *(f"torch._utils _rebuild_{what}" for what in _ODD.split()),
}
_PARTS = {
    "torch Size": "Size",
    "torch device": "device",
    "torch.serialization _get_layout": "layout",
}
_NAMES = {
    *(_ORDERED_DICT, _TENSOR, _TENSOR_OF_DTYPE, _PARAMETER, *_NOT_PLAIN, *_PARTS),
    *(*_STORAGES, *_DTYPES, "torch Tensor", "torch.nn.parameter Parameter"),
    *(f"torch per_{of}_{how}" for of in ("tensor", "channel") for how in ("affine", "symmetric")),
    "torch per_channel_affine_float_qparams",
}


def read_pickle(
    stream: io.BytesIO, *, old_format: bool, bare: bool, most: int = MAX_OPCODES
) -> Pickled:
    """Read one pickle from where `stream` stands, and leave it where the pickle ends.

    old_format : how storages are named. bare : the file is a pickle, so a strange instruction is somebody's code.
    most : how many instructions it may have. Raises Broken, Foreign.
    """
    reader, last = _Reader(old_format), ""
    try:
        for opcode, value, _ in islice(pickletools.genops(stream), most):
            last = opcode.name
            act = _ACTS.get(last)
            if act is None:
                raise Foreign if bare or last == "NEWOBJ" else Broken(NOT_TORCHS)
            act(reader, value)
        if last != "STOP":
            raise Broken(TOO_LONG)
        (result,) = reader.stack  # one thing is left, and no mark is open
    except (ValueError, IndexError, KeyError) as error:
        raise Broken(NOT_TORCHS) from error
    if reader.below:
        raise Broken(NOT_TORCHS)
    if any(reader.empty) or not _are_metadata(reader.metadata):
        raise Foreign
    return Pickled(result, reader.storages)


class _Reader:
    """The stack machine: `stack` above the last mark, what lies `below` each mark, and what it was told to remember."""

    def __init__(self, old_format: bool) -> None:
        self.old_format = old_format
        self.stack: list[object] = []
        self.below: list[list[object]] = []
        self.memo: dict[int, object] = {}
        self.storages: dict[str, Storage] = {}
        self.tensors = 0
        self.empty: list[OrderedDict[object, object]] = []  # hooks: they must stay empty
        self.metadata: list[object] = []

    # ----------------------------------------------------------------------------------- instructions
    def nothing(self, _: object) -> None:
        """PROTO and STOP."""

    def value(self, value: object) -> None:
        self.stack.append(value)

    def text(self, value: str) -> None:
        if len(value) > MAX_TEXT:
            raise Broken(f"ValueError: a name in it has {len(value):,} characters")
        self.stack.append(value)

    def name(self, value: str) -> None:
        if value not in _NAMES:
            raise Foreign
        self.stack.append(_Global(value))

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def mark(self, _: object) -> None:
        if len(self.below) == _MAX_MARKS:
            raise Broken(TOO_LONG)
        self.below.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[object]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def tuple_of(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) < count:
            raise Broken(NOT_TORCHS)
        self.stack[-count:] = [items]

    def tuple_to_mark(self, _: object) -> None:
        items = tuple(self.to_mark())
        self.stack.append(items)

    def extend(self, items: list[object]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise Broken(NOT_TORCHS)
        target.extend(items)

    def set_items(self, items: list[object]) -> None:
        target = self.stack[-1]
        if (type(target) is not dict and type(target) is not OrderedDict) or len(items) % 2:
            raise Broken(NOT_TORCHS)
        for key, value in zip(items[::2], items[1::2], strict=True):
            # other keys may take for ever to compare; torch.save writes none twice
            if type(key) is not str and (type(key) is not int or abs(key) >= 2**31):
                raise Foreign
            if key in target:
                raise Broken("ValueError: a name in it comes twice")
            target[key] = value

    def build(self, _: object) -> None:
        """An attribute of an OrderedDict: the versions of a model's layers, which `state_dict()` notes there."""
        state = self.stack.pop()
        if type(self.stack[-1]) is not OrderedDict or type(state) is not dict:
            raise Foreign
        if list(state) != ["_metadata"]:
            raise Foreign
        self.metadata.append(state["_metadata"])

    def storage(self, _: object) -> None:
        """("storage", type, key, location, numel), and in the old format a view of it, which is None since torch 0.4."""
        told = self.stack.pop()
        if type(told) is not tuple or len(told) != 5 + self.old_format or told[0] != "storage":
            raise Foreign
        _, kind, key, location, numel, *view = told
        if type(kind) is not _Global or kind.name not in _STORAGES:
            raise Foreign
        if type(key) is not str or not (key.isascii() and key.isdigit() and len(key) <= 20):
            raise Broken(NOT_TORCHS)
        if type(location) is not str or not _is_size(numel) or view not in ([], [None]):
            raise Broken(NOT_TORCHS)
        dtype = _STORAGES[kind.name]
        if self.old_format and not dtype:
            raise Broken("ValueError: the old format can't hold its type of numbers")
        found = Storage(key, dtype, _SIZES.get(dtype, 1), numel)
        if self.storages.setdefault(key, found) != found:
            raise Broken("ValueError: two tensors in it take the same bytes for different things")
        self.stack.append(found)

    def call(self, _: object) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        if type(function) is not _Global or type(args) is not tuple:
            raise Foreign
        name = function.name
        if name == _ORDERED_DICT:
            if args:
                raise Foreign
            self.stack.append(OrderedDict())
        elif name in _PARTS:
            self.stack.append(_Part(_PARTS[name]))
        else:
            self.tensors += name != _PARAMETER  # which is one around another
            if self.tensors > MAX_TENSORS:
                raise Broken(TOO_MANY)
            self.stack.append(self.tensor(name, args))

    # ---------------------------------------------------------------------------------------- tensors
    def tensor(self, name: str, args: tuple[object, ...]) -> PickledTensor:
        if name in _NOT_PLAIN:
            return PickledTensor()
        if name == _PARAMETER and len(args) == 3:
            inner, grad, hooks = args
            self.no_hooks(hooks)
            if type(inner) is not PickledTensor or inner.kind != "Tensor" or type(grad) is not bool:
                raise Broken(NOT_TORCHS)
            if grad and inner.plain and not inner.dtype.startswith(_WITH_GRADIENT):
                raise Broken(_NO_GRADIENT)
            return replace(inner, kind="Parameter")
        if name == _TENSOR and len(args) in (6, 7):
            return self.view(args[:6], None, plain=len(args) == 6)
        if name == _TENSOR_OF_DTYPE and len(args) in (7, 8):
            dtype = args[6]
            if type(dtype) is not _Global or dtype.name not in _DTYPES:
                raise Broken(NOT_TORCHS)
            return self.view(args[:6], _DTYPES[dtype.name], plain=len(args) == 7)
        raise Foreign

    def view(self, args: tuple[object, ...], dtype: str | None, plain: bool) -> PickledTensor:
        """A strided tensor. plain : False where a bit says that its numbers are to be read conjugated or negated."""
        storage, offset, shape, stride, grad, hooks = args
        self.no_hooks(hooks)
        if type(storage) is not Storage or (dtype is None) != bool(storage.dtype):
            raise Broken(NOT_TORCHS)
        if type(shape) is not tuple or type(stride) is not tuple or len(shape) != len(stride):
            raise Broken(NOT_TORCHS)
        if not all(map(_is_size, (offset, *shape, *stride))) or type(grad) is not bool:
            raise Broken(NOT_TORCHS)
        if len(shape) > _MAX_DIMENSIONS or math.prod(max(size, 1) for size in shape) >= _LARGEST:
            raise Broken("ValueError: a tensor in it has no shape that torch can have")
        # torch itself can't load a newer dtype with a gradient; whole numbers have none
        if grad and not storage.dtype.startswith(_WITH_GRADIENT):
            raise Broken(_NO_GRADIENT)
        dtype = dtype or storage.dtype
        plain = plain and not dtype.startswith("q")  # quantised
        assert type(offset) is int
        return PickledTensor(dtype, _SIZES[dtype], shape, stride, offset, storage, plain)

    def no_hooks(self, hooks: object) -> None:
        if type(hooks) is not OrderedDict:
            raise Foreign
        self.empty.append(hooks)


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _are_metadata(values: Iterable[object]) -> bool:
    """Is each one layer -> {"version": 2}, and nothing deeper? What is named many times is looked at once."""
    layers: dict[int, object] = {}
    for value in {id(value): value for value in values}.values():
        if type(value) is not dict and type(value) is not OrderedDict:
            return False
        layers.update((id(layer), layer) for layer in value.values())
    return all(
        type(layer) is dict
        and all(type(v) in (int, str, bool, float, type(None)) for v in layer.values())
        for layer in layers.values()
    )


_ACTS: dict[str, Callable[..., None]] = {
    "PROTO": _Reader.nothing,
    "STOP": _Reader.nothing,
    "NONE": _Reader.value,
    "NEWTRUE": lambda reader, _: reader.value(True),
    "NEWFALSE": lambda reader, _: reader.value(False),
    "BININT": _Reader.value,
    "BININT1": _Reader.value,
    "BININT2": _Reader.value,
    "LONG1": _Reader.value,
    "BINFLOAT": _Reader.value,
    "BINUNICODE": _Reader.text,
    "GLOBAL": _Reader.name,
    "BINPUT": _Reader.put,
    "LONG_BINPUT": _Reader.put,
    "BINGET": _Reader.get,
    "LONG_BINGET": _Reader.get,
    "MARK": _Reader.mark,
    "EMPTY_TUPLE": lambda reader, _: reader.value(()),
    "EMPTY_LIST": lambda reader, _: reader.value([]),
    "EMPTY_DICT": lambda reader, _: reader.value({}),
    "TUPLE": _Reader.tuple_to_mark,
    "TUPLE1": lambda reader, _: reader.tuple_of(1),
    "TUPLE2": lambda reader, _: reader.tuple_of(2),
    "TUPLE3": lambda reader, _: reader.tuple_of(3),
    "APPEND": lambda reader, _: reader.extend([reader.stack.pop()]),
    "APPENDS": lambda reader, _: reader.extend(reader.to_mark()),
    "SETITEM": lambda reader, _: reader.set_items([reader.stack.pop(-2), reader.stack.pop()]),
    "SETITEMS": lambda reader, _: reader.set_items(reader.to_mark()),
    "BUILD": _Reader.build,
    "REDUCE": _Reader.call,
    "BINPERSID": _Reader.storage,
}
