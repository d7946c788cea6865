"""What a file of tensors holds, told without torch: real files are described as torch loads them, all others refused.

Each attack here is one that torch's own careful reading takes, or pays for in memory or time.
"""

import io
import re
import struct
import subprocess
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fedkit.base import files
from fedkit.base.errors import Unreadable
from fedkit.base.tensor_pickle import MAX_OPCODES, MAX_TENSORS
from fedkit.base.tensors import inspect_state, load_pair, load_state
from tests.support.budget import budget
from tests.support.helpers import recompressed, saved

X = Path("x.pt")
LIMIT = 2**21
CPU_S, MEMORY = 10, 5 * 45 * 2**20
"""The worst file known costs half a second and 45 MiB to look at. Seconds are a bound against hangs."""

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:TypedStorage is deprecated"),
]


def old(value: object) -> bytes:
    """In torch's format before 1.6."""
    return saved(value, _use_new_zipfile_serialization=False)


def refusal(data: bytes, max_bytes: int = LIMIT) -> Unreadable:
    """How a file is refused: the same whether it is only looked at or loaded, and torch never gets to see it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was given to torch"))
        with pytest.raises(Unreadable) as loading:
            load_state(data, X, max_bytes=max_bytes)
    with pytest.raises(Unreadable) as looking:
        inspect_state(data, X, max_bytes=max_bytes)
    assert str(loading.value) == str(looking.value)
    assert looking.value.file == X
    assert looking.value.remedy
    assert looking.value.what.isprintable()
    assert len(looking.value.what) < 300
    return looking.value


# ------------------------------------------------------------------------------- files that are taken
def described(state: dict[str, Tensor]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {
        name: (str(value.dtype).removeprefix("torch."), tuple(value.shape))
        for name, value in state.items()
    }


def same_bits(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape or one.stride() != other.stride():
        return False
    rows = [torch.empty(0, dtype=torch.uint8).set_(t.untyped_storage()) for t in (one, other)]
    return torch.equal(*rows)


def check_taken(data: bytes, path: Path = X) -> dict[str, Tensor]:
    """It is described as torch loads it, and what is loaded is what torch loads, bit by bit."""
    expected = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    assert inspect_state(data, path) == described(expected)
    state = load_state(data, path)
    assert list(state) == list(expected)
    for name, value in state.items():
        assert type(value) is Tensor
        assert not value.requires_grad
        assert same_bits(value, expected[name].detach()), name
    return state


class Tied(nn.Module):
    """Its first and last layer are one matrix; of its buffers, one is a view that leaves numbers out."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Embedding(5, 4)
        self.outside = nn.Linear(4, 5, bias=False)
        self.outside.weight = self.inside.weight
        self.register_buffer("places", torch.arange(12).expand(1, 12)[:, ::2])
        self.register_buffer("on", torch.tensor(True))


REAL: dict[str, Callable[[], nn.Module]] = {
    "convolutions": lambda: nn.Sequential(nn.Conv2d(1, 4, 5), nn.BatchNorm2d(4), nn.Linear(4, 10)),
    "tied": Tied,
    "recurrent": lambda: nn.LSTM(3, 4, 2),
    "attention": lambda: nn.TransformerEncoderLayer(8, 2, 16),
    "half": lambda: nn.Linear(3, 2).half(),
    "brain": lambda: nn.Linear(3, 2).bfloat16(),
    "double": lambda: nn.BatchNorm1d(3).double(),
    "channels last": lambda: nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last),
    "no parameters": nn.ReLU,
}


@pytest.mark.parametrize("how", [saved, old], ids=["zip", "old format"])
@pytest.mark.parametrize("kind", REAL)
def test_real_models_are_described_as_torch_loads_them(
    kind: str, how: Callable[[object], bytes], tmp_path: Path
) -> None:
    model = REAL[kind]()
    check_taken(how(model.state_dict()))  # with the versions of its layers
    check_taken(how(model.state_dict(keep_vars=True)))  # parameters as they are
    check_taken(how(dict(model.named_parameters())))
    if how is saved:
        torch.save(model.state_dict(), tmp_path / "Gewichte (2).pt")  # a folder of that name inside
        check_taken((tmp_path / "Gewichte (2).pt").read_bytes())
        check_taken(saved(model.state_dict(), pickle_protocol=3))


DTYPES = [
    *(torch.float16, torch.float32, torch.float64, torch.bfloat16, torch.complex64),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.bool),
    torch.float8_e4m3fn,
]
NEWER = [torch.uint16, torch.float8_e4m3fn]


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Any dtype; no, one or more dimensions, empty ones too; whole, or a view with steps, gaps or turned axes."""
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    torch.manual_seed(draw(st.integers(0, 99)))
    value = torch.randint(0, 2, shape).to(draw(st.sampled_from(DTYPES)))
    if value.dim() and draw(st.booleans()):
        axis = draw(st.integers(0, value.dim() - 1))
        value = value.transpose(0, axis)[draw(st.integers(0, 2)) :]
    if value.dim() and draw(st.booleans()):
        value = value[..., :: draw(st.integers(1, 3))]
    if draw(st.booleans()):
        value = value.unsqueeze(0)
    if value.dim() >= 2 and draw(st.booleans()):
        value = value.diagonal()
    if value.is_floating_point() and draw(st.booleans()):
        plain = value.dtype in NEWER or draw(st.booleans())
        value = nn.Parameter(value) if plain else value.requires_grad_()
    return value


@given(st.dictionaries(st.text(max_size=9), tensors(), max_size=5), st.booleans(), st.data())
def test_generated_states_are_described_as_torch_loads_them(
    state: dict[str, Tensor], in_old_format: bool, data: st.DataObject
) -> None:
    for name in [n for n, v in state.items() if in_old_format and v.dtype in NEWER]:
        del state[name]  # torch writes it, and can't read it
    if state and data.draw(st.booleans()):  # two names for one tensor
        state |= {"again": data.draw(st.sampled_from(list(state.values())))}
    check_taken((old if in_old_format else saved)(state))


def test_what_torch_itself_cannot_load_is_refused_at_a_look() -> None:
    """A newer type of numbers beside the tape of a gradient, or in the old format."""
    newer = torch.ones(2).to(torch.float8_e4m3fn)
    for data in (saved({"w": newer.clone().requires_grad_()}), old({"w": newer})):
        with pytest.raises((RuntimeError, AttributeError)):
            torch.load(io.BytesIO(data), weights_only=True)
        assert refusal(data).what == "can't be read as tensors"


def test_parts_of_one_storage_are_taken_and_count_apart() -> None:
    """Tied weights and the one long row of a recurrent network's parameters: each name counts for all its numbers."""
    row = torch.arange(2**18).float()
    for how in (saved, old):
        data = how({"whole": row, "half": row[2**17 :], "again": row})
        state = check_taken(data)
        assert len(data) < 2**20 + 2**14
        assert torch.equal(state["half"], row[2**17 :])
        assert "it unpacks to 2,621,440 bytes" in str(refusal(data))
        inspect_state(data, X, max_bytes=2_621_440)


@pytest.mark.parametrize("how", [saved, old], ids=["zip", "old format"])
@pytest.mark.parametrize("kind", [tuple, list])
def test_a_dataset_is_a_pair(how: Callable[[object], bytes], kind: Callable[[Any], Any]) -> None:
    images, labels = torch.rand(3, 1, 28, 28), torch.tensor([1, 2, 3])
    back = load_pair(how(kind([images, labels])), X, max_bytes=LIMIT)
    assert torch.equal(back[0], images)
    assert torch.equal(back[1], labels)


def test_whoever_only_looks_needs_no_torch(tmp_path: Path) -> None:
    paths = [tmp_path / "new.pt", tmp_path / "old.pt", tmp_path / "bad.pt"]
    for path, data in zip(paths, [saved(GOOD), old(GOOD), b"nothing"], strict=True):
        path.write_bytes(data)
    code = (
        "import sys; from pathlib import Path; from fedkit.base.errors import Unreadable\n"
        "from fedkit.base.tensors import inspect_state\n"
        "for path in map(Path, sys.argv[1:]):\n"
        "    try: print(inspect_state(path.read_bytes(), path))\n"
        "    except Unreadable as error: print(error.what)\n"
        "print(sorted({'torch', 'numpy'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True
    )
    told = "{'w': ('float32', (3,)), 'b': ('float32', (2,))}"
    assert done.stdout.splitlines() == [told, told, "can't be read as tensors", "[]"]


# ---------------------------------------------------------------------------- tensors that are not plain
def with_attribute(value: object, name: str = "is_floating_point") -> Tensor:
    tensor = torch.full((2,), torch.nan)
    setattr(tensor, name, value)
    return tensor


def with_state() -> nn.Parameter:
    parameter = nn.Parameter(torch.ones(2))
    parameter.note = 1  # type: ignore[attr-defined]
    return parameter


ODD: dict[str, Callable[[], Tensor]] = {
    "an attribute that raises": lambda: with_attribute(1),
    "an attribute of its own": lambda: with_attribute([1, 2], "note"),
    "a parameter with an attribute": with_state,
    "sparse": lambda: torch.eye(3).to_sparse(),
    "sparse rows": lambda: torch.eye(3).to_sparse_csr(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "quantised by channel": lambda: torch.quantize_per_channel(
        torch.ones(2, 2), torch.ones(2), torch.zeros(2).long(), 0, torch.quint8
    ),
    "without numbers": lambda: torch.zeros(3, device="meta"),
    "conjugated": lambda: torch.ones(2, dtype=torch.complex64).conj(),
    "negated": lambda: torch.ones(2, dtype=torch.complex64).conj().imag,
    "nested": lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("how", [saved, old], ids=["zip", "old format"])
@pytest.mark.parametrize("kind", ODD)
def test_a_tensor_that_is_not_plain_is_refused(kind: str, how: Callable[[object], bytes]) -> None:
    value = ODD[kind]()
    data = how({"good": torch.ones(2), "fc.bias": value})
    assert refusal(data).what == "fc.bias is no plain tensor"
    with pytest.raises(Unreadable, match="labels: are no plain tensor"):
        load_pair(how((torch.ones(2), value)), X, max_bytes=LIMIT)


def test_what_answers_for_a_tensor_is_refused() -> None:
    """`set(value)` is not empty, so a NaN check that asks the tensor itself hears that all is well."""
    for how in (saved, old):
        assert "nothing in it was run" in refusal(how({"w": with_attribute(set)})).what


class Mine(Tensor):
    """A class of somebody's own: its methods would answer."""


def test_a_subclass_is_refused() -> None:
    value = torch.ones(2).as_subclass(Mine)
    for how in (saved, old):
        assert "nothing in it was run" in refusal(how({"w": value})).what


def test_what_torch_allows_by_itself_is_checked_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a reader of ours ever be fooled: what torch hands over is looked at, too."""
    data = saved({"w": torch.zeros(2)})
    for value in (
        with_attribute(1),
        torch.zeros(2, device="meta"),
        torch.zeros(2).as_subclass(Mine),
    ):
        monkeypatch.setattr(torch, "load", lambda *_, value=value, **__: {"w": value})
        with pytest.raises(Unreadable, match="w is no plain tensor"):
            load_state(data, X)
    for state in ({"w": torch.zeros(3)}, {"w": torch.zeros(2).double()}, {"v": torch.zeros(2)}):
        monkeypatch.setattr(torch, "load", lambda *_, state=state, **__: state)
        with pytest.raises(Unreadable, match="something else"):
            load_state(data, X)


REPEATED: dict[str, Callable[[], Tensor]] = {
    "one number": lambda: torch.zeros(1).expand(10**6, 10**6),
    "a row": lambda: torch.zeros(4).expand(3, 4),
    "windows": lambda: torch.arange(9.0).unfold(0, 4, 2),
    "crossing": lambda: torch.zeros(9).as_strided((3, 3), (2, 2)),
}


@pytest.mark.parametrize("how", [saved, old], ids=["zip", "old format"])
@pytest.mark.parametrize("kind", REPEATED)
def test_a_view_that_repeats_numbers_is_refused(kind: str, how: Callable[[object], bytes]) -> None:
    error = refusal(how({"w": REPEATED[kind]()}))
    assert re.match(r"w has shape \[.*\] with strides \[.*\], which repeat the same", error.what)
    with pytest.raises(Unreadable, match="images: repeat the same numbers"):
        load_pair(how((REPEATED[kind](), torch.ones(1))), X, max_bytes=LIMIT)


# ------------------------------------------------------------------------- archives that say two things
LOCAL, LISTED, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
GOOD = {"w": torch.tensor([1.0, 2.0, 3.0]), "b": torch.ones(2)}


def entries(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {item.filename: archive.read(item) for item in archive.infolist()}


def archive(content: dict[str, bytes] | list[tuple[str, bytes]]) -> bytes:
    """A zip archive, its entries stored."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that come twice
        for name, data in content.items() if isinstance(content, dict) else content:
            target.writestr(name, data)
    return buffer.getvalue()


def good() -> dict[str, bytes]:
    return entries(saved(GOOD))


def changed(**parts: bytes | None) -> bytes:
    """A good archive with other content here and there."""
    content = good() | {f"archive/{name.replace('__', '/')}": v for name, v in parts.items() if v}
    return archive(content)


def in_pickle(before: bytes, after: bytes) -> bytes:
    content = good()
    assert before in content["archive/data.pkl"]
    content["archive/data.pkl"] = content["archive/data.pkl"].replace(before, after, 1)
    return archive(content)


def hidden_bomb() -> bytes:
    """zipfile reads the list of contents that lies in front of the end, torch the one where the end says: 16 MiB."""
    bomb = recompressed(saved({"w": torch.zeros(2**22)}))
    size, at = struct.unpack("<2I", bomb[-10:-2])
    listed = bomb[at : at + size]
    harmless = listed
    for place in [match.start() for match in re.finditer(LISTED, listed)]:
        harmless = harmless[: place + 24] + b"\x01\0\0\0" + harmless[place + 28 :]
    return bomb[: at + size] + harmless + bomb[at + size :]


def test_a_hidden_bomb_would_be_taken() -> None:
    bomb = hidden_bomb()
    assert len(bomb) < 2**15
    with zipfile.ZipFile(io.BytesIO(bomb)) as seen:
        assert sum(item.file_size for item in seen.infolist()) < 20
    assert torch.load(io.BytesIO(bomb), weights_only=True)["w"].numel() == 2**22


def shared_entry() -> bytes:
    """Many names in the list of contents for one entry's bytes."""
    content = good()
    data = bytearray(archive(content | {"archive/data/2": content["archive/data/0"]}))
    first = data.index(b"PK\x01\x02")
    one, two = (data.index(f"archive/data/{n}".encode(), first) - 46 for n in (0, 2))
    data[two + 42 : two + 46] = data[one + 42 : one + 46]
    return bytes(data)


def patched(data: bytes, signature: bytes, offset: int, value: bytes, which: int = 0) -> bytes:
    """One field of one record of an archive with another value."""
    changed, at = bytearray(data), -1
    for _ in range(which + 1):
        at = data.index(signature, at + 1)
    changed[at + offset : at + offset + len(value)] = value
    return bytes(changed)


def two_lists() -> bytes:
    """A second archive's entries and list behind the first's: the offsets of one of them fit."""
    return saved(GOOD) + saved({"w": torch.zeros(2)})


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "a bomb that zipfile does not see": hidden_bomb,
    "compressed": lambda: recompressed(saved(GOOD)),
    "bytes behind": lambda: saved(GOOD) + b"x",
    "many bytes behind": lambda: saved(GOOD) + bytes(2**17),
    "a comment": lambda: patched(saved(GOOD) + b"x", END, 20, b"\x01\x00"),
    "bytes in front": lambda: saved(GOOD)[:4] + saved(GOOD),
    "a second archive": two_lists,
    "bytes in between": lambda: saved(GOOD).replace(LISTED, b"xxxx" + LISTED, 1),
    "a name twice": lambda: archive([*good().items(), ("archive/data/0", bytes(12))]),
    "a name in capitals": lambda: archive([("archive/DATA.PKL", b""), *good().items()]),
    "another folder": lambda: archive([*good().items(), ("other/data.pkl", b"")]),
    "no folder": lambda: archive({k.partition("/")[2]: v for k, v in good().items()}),
    "another entry": lambda: archive(good() | {"archive/extra": b"x"}),
    "a path": lambda: archive(good() | {"archive/data/../0": b"x"}),
    "entries that share bytes": shared_entry,
    "another name at the entry": lambda: patched(archive(good()), LOCAL, 30, b"b"),
    "another size at the entry": lambda: patched(archive(good()), LOCAL, 22, b"\x09\0\0\0"),
    "another size in the list": lambda: patched(archive(good()), LISTED, 24, b"\x09\0\0\0"),
    "another size behind the entry": lambda: patched(saved(GOOD), b"PK\x07\x08", 12, b"\x09\0\0\0"),
    "another method at the entry": lambda: patched(archive(good()), LOCAL, 8, b"\x08\0"),
    "encrypted": lambda: patched(archive(good()), LISTED, 8, b"\x01\0"),
    "a storage that is a folder": lambda: patched(saved(GOOD), LISTED, 38, b"\x10", which=4),
    "a pickle that is a folder": lambda: patched(saved(GOOD), LISTED, 38, b"\x10"),
    "a 64-bit size": lambda: patched(saved(GOOD), LISTED, 24, b"\xff" * 4),
    "another list in 64 bits": lambda: patched(saved(GOOD), b"PK\x06\x06", 48, b"\x00"),
    "a longer list": lambda: patched(saved(GOOD), END, 8, b"\xff\xff\xff\xff"),
    "a storage too short": lambda: changed(data__0=bytes(8)),
    "a storage too long": lambda: changed(data__0=bytes(16)),
    "a storage too many": lambda: changed(data__2=bytes(8)),
    "no version": lambda: archive({k: v for k, v in good().items() if "version" not in k}),
    "a version to come": lambda: changed(version=b"11\n"),
    "another byte order": lambda: changed(byteorder=b"middle"),
    "no pickle": lambda: archive({k: v for k, v in good().items() if "pkl" not in k}),
    "bytes behind the pickle": lambda: in_pickle(b"u.", b"u.x"),
    "more numbers than are there": lambda: in_pickle(b"K\x03t", b"J\xff\xff\xff\x7ft"),
    "less than none": lambda: in_pickle(b"K\x03t", b"J\xff\xff\xff\xfft"),
    "a shape beyond the storage": lambda: in_pickle(b"K\x03\x85", b"K\x04\x85"),
    "an offset beyond the storage": lambda: in_pickle(b"QK\x00", b"QK\x01"),
    "a stride beyond the storage": lambda: in_pickle(
        b"K\x03\x85q\x08K\x01", b"K\x03\x85q\x08K\x02"
    ),
    "a negative stride": lambda: in_pickle(b"q\x08K\x01", b"q\x08J\xff\xff\xff\xff"),
    "another type of numbers": lambda: in_pickle(b"FloatStorage", b"DoubleStorage"),
    "a gradient of whole numbers": lambda: in_pickle(b"FloatStorage", b"IntStorage").replace(
        b"\x89", b"\x88", 1
    ),
    "a storage elsewhere": lambda: in_pickle(
        b"X\x01\x00\x00\x000", b"X\x05\x00\x00\x00../../"[:10]
    ),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_that_says_two_things_is_refused(kind: str) -> None:
    assert refusal(ARCHIVES[kind]()).what == "can't be read as tensors"


def test_the_archives_would_be_taken_without_the_change() -> None:
    """Stored by zipfile, a file of torch's is as good as before; so each refusal above has the reason it names."""
    check_taken(archive(good()))
    check_taken(archive({k: v for k, v in good().items() if k[8:12] in ("data", "vers")}))  # 1.6


OLD: dict[str, Callable[[bytes], bytes]] = {
    "bytes behind": lambda data: data + b"x",
    "cut off": lambda data: data[:-1],
    "more numbers than are there": lambda data: data.replace(b"K\x03N", b"J\xff\xff\xff\x7fN"),
    "other counts": lambda data: data[:-20] + b"\x02" + data[-19:],
    "a view of a storage": lambda data: data.replace(b"K\x03Nt", b"K\x03)t"),
    "another number in front": lambda data: data.replace(b"\x8a\x0a\x6c", b"\x8a\x0a\x6d"),
    "another version": lambda data: data.replace(b"M\xe9\x03.", b"M\xe8\x03."),
    "no keys": lambda data: re.sub(rb"\]q\x00.*a\.", b"].", data),
}


@pytest.mark.parametrize("kind", OLD)
def test_the_old_format_that_says_two_things_is_refused(kind: str) -> None:
    data = old({"w": GOOD["w"]})
    assert OLD[kind](data) != data
    assert refusal(OLD[kind](data)).what == "can't be read as tensors"


# --------------------------------------------------------------------------- pickles that cost or build
def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


ONE = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n"
    b"%s" + text("cpu") + b"K\x01tQK\x00))\x89ccollections\nOrderedDict\n)RtR"
)


def one(key: int = 0) -> bytes:
    """The pickle of a tensor of one number."""
    return ONE % text(str(key))


def pickled(body: bytes, numbers: int = 1) -> bytes:
    storages = {f"archive/data/{key}": b"\0\0\x80\x3f" for key in range(numbers)}
    return archive({"archive/data.pkl": b"\x80\x02" + body, "archive/version": b"3\n"} | storages)


def bytearray_of(size: int) -> bytes:
    return b"cbuiltins\nbytearray\n(J" + struct.pack("<i", size) + b"tR."


def names(count: int, tensor: Callable[[int], bytes]) -> bytes:
    return b"}(" + b"".join(text(f"layer.{n}") + tensor(n) for n in range(count)) + b"u."


def hooked(hooks: bytes) -> bytes:
    """A tensor whose hooks are an OrderedDict that is filled after the tensor was made."""
    tensor = one().replace(b"OrderedDict\n)R", b"OrderedDict\n)Rq\x07")
    return b"}" + text("w") + tensor + b"s" + text("h") + hooks + b"s."


FOREIGN: dict[str, bytes] = {
    "a bytearray of 2 GiB": bytearray_of(2**31 - 1),
    "a set": b"cbuiltins\nset\n(]K\x01atR.",
    "a counter": b"ccollections\nCounter\n)R.",
    "text to bytes": b"c_codecs\nencode\n" + text("x" * 9) + text("latin1") + b"\x86R.",
    "a new object": b"ctorch\nTensor\n)\x81.",
    "a storage of nothing": b"ctorch.storage\nUntypedStorage\nJ\xff\xff\xff\x7f\x85R.",
    "a size by itself": b"}" + text("w") + b"ctorch\nFloatStorage\n)Rs.",
    "an ordered dict of a list": b"ccollections\nOrderedDict\n]](K\x01K\x01ea\x85R.",
    "an attribute": b"ccollections\nOrderedDict\n)R}" + text("items") + b"K\x01sb.",
    "deep metadata": b"ccollections\nOrderedDict\n)R}" + text("_metadata") + b"}K\x01]ssb.",
    "a state of a tensor": b"}" + text("w") + one() + b"}bs.",
    "hooks that fill up later": hooked(b"h\x07K\x01K\x01s"),
    "a key of many parts": b"}K\x01" + b"q\x00h\x00\x86" * 60 + b"K\x01s.",
    "keys that collide": b"}\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x1f\x00K\x01s.",
    "a module": b"}" + text("w") + b"(" + text("module") + b"K\x01K\x01K\x01K\x01tQs.",
}
BROKEN: dict[str, bytes] = {
    "nothing": b".",
    "too little": b"\x86.",
    "too much": b"}}.",
    "an open mark": b"(}.",
    "no end": b"}",
    "a name twice": b"}(" + (text("w") + one()) * 2 + b"u.",
    "items of a list": b"](K\x01K\x02u.",
    "an odd number of items": b"}(K\x01u.",
    "items for a dict": b"}K\x01a.",
    "what was not remembered": b"h\x01.",
    "text that is none": b"X\x01\x00\x00\x00\xff.",
    "one storage, two types": b"}("
    + text("a")
    + one()
    + text("b")
    + one().replace(b"FloatStorage", b"IntStorage")
    + b"u.",
    "65 dimensions": b"}"
    + text("w")
    + one().replace(b"))\x89", b"(%st(%st\x89" % ((b"K\x01" * 65,) * 2))
    + b"s.",
    "a size beyond 64 bits": b"}"
    + text("w")
    + one().replace(
        b"))\x89", b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x00\x86K\x01K\x01\x86\x89"
    )
    + b"s.",
    "a shape beyond 64 bits": b"}"
    + text("w")
    + one().replace(b"))\x89", b"J\xff\xff\xff\x7fq\x00h\x00h\x00\x87K\x00q\x01h\x01h\x01\x87\x89")
    + b"s.",
    "a long name": b"}" + text("x" * (2**20 + 1)) + one() + b"s.",
}


def test_a_tensor_of_one_number_is_taken() -> None:
    """The building stone of the attacks is sound."""
    assert check_taken(pickled(b"}" + text("w") + one() + b"s."))["w"] == 1
    assert len(check_taken(pickled(names(9, one), 9))) == 9


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_pickle_that_builds_more_is_refused(kind: str) -> None:
    assert refusal(pickled(FOREIGN[kind])).what == "holds more than tensors; nothing in it was run"


@pytest.mark.parametrize("kind", BROKEN)
def test_a_pickle_that_torch_does_not_write_is_refused(kind: str) -> None:
    assert refusal(pickled(BROKEN[kind])).what == "can't be read as tensors"


def test_31_bytes_that_would_cost_two_gibibytes() -> None:
    bait = b"\x80\x02cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR."
    assert "nothing in it was run" in refusal(bait, 2**20).what


def doubled() -> bytes:
    """Pairs of pairs of pairs: whoever prints, compares or counts them never ends."""
    return b"K\x01q\x00" + b"h\x00\x86q\x00" * 10_000 + b"."


def one_tensor_many_times() -> bytes:
    """A million numbers, and ten thousand names for them."""
    tensor = one().replace(
        b"K\x01tQK\x00))", b"J\x00\x00\x04\x00tQK\x00J\x00\x00\x04\x00\x85K\x01\x85"
    )
    body = names(5000, lambda n: b"h\x05" if n else tensor + b"q\x05")
    return archive(
        {
            "archive/data.pkl": b"\x80\x02" + body,
            "archive/version": b"3\n",
            "archive/data/0": bytes(2**20),
        }
    )


def metadata(one_layer: bool) -> bytes:
    """20,000 notes: each of one long layer, or one long list of layers given 20,000 times."""
    many = range(20_000)
    long = b"}(" + b"".join(text(f"a{n}") + (b"N" if one_layer else b"}") for n in many) + b"uq\x05"
    given = b"ccollections\nOrderedDict\n)R" + text("x") + b"Ns}" + text("_metadata")
    if one_layer:
        return (
            given
            + b"}("
            + text("b")
            + long
            + b"".join(text(f"b{n}") + b"h\x05" for n in many)
            + b"usb."
        )
    return given + long + b"sq\x06b" + b"h\x06b" * len(many) + b"."


COSTLY: dict[str, tuple[Callable[[], bytes], str]] = {
    "instructions": (lambda: pickled(b"}" * MAX_OPCODES + b"."), "longer than any model's"),
    "remembered": (
        lambda: pickled(b"".join(b"}r" + struct.pack("<I", n) for n in range(2**18)) + b"."),
        "longer than any model's",
    ),
    "deep tuples": (
        lambda: pickled(b"K\x01" + b"\x85" * (MAX_OPCODES - 3) + b"."),
        "holds a tuple",
    ),
    "deep lists": (lambda: pickled(b"]" * 200_000 + b"a" * 199_999 + b"."), "holds a list"),
    "marks": (lambda: pickled(b"(" * 10_000 + b"."), "longer than any model's"),
    "doubled": (lambda: pickled(doubled()), "holds a tuple"),
    "a list of itself": (lambda: pickled(b"]q\x00h\x00a."), "holds a list"),
    "bytes": (lambda: pickled(b"x" * (2**23 + 1)), "longer than any model's"),
    "a long line": (lambda: pickled(b"c" + b"x" * 2**22), "did not write it"),
    "a long number": (lambda: pickled(b"I" + b"1" * 2**22 + b"\n."), "did not write it"),
    "tensors": (lambda: pickled(names(MAX_TENSORS + 1, one), 1), "more than 10,000 tensors"),
    "names": (
        lambda: pickled(names(MAX_TENSORS + 1, lambda n: b"h\x05" if n else one() + b"q\x05")),
        "more than 10,000 tensors",
    ),
    "entries": (lambda: pickled(b"}.", MAX_TENSORS + 99), "more than 10,000 tensors"),
    "one tensor, many times": (one_tensor_many_times, "it unpacks to 5,242,880,000 bytes"),
    "dimensions": (
        lambda: pickled(
            b"}"
            + text("w")
            + one().replace(b"))\x89", b"(%st(%st\x89" % ((b"J\xff\xff\xff\x7f" * 200_000,) * 2))
            + b"s."
        ),
        "no shape that torch can have",
    ),
    "metadata of the same layers": (
        lambda: pickled(metadata(one_layer=True)),
        "holds a OrderedDict",
    ),
    "the same metadata": (lambda: pickled(metadata(one_layer=False)), "holds a OrderedDict"),
    "old format, bytes": (lambda: b"\x80\x02" + b"}" * 2**24, "can't be read"),
    "old format, a long line": (lambda: b"\x80\x02c" + b"x" * 2**24, "can't be read"),
}


@pytest.mark.parametrize("kind", COSTLY)
def test_a_look_is_bounded_in_time_and_memory(kind: str) -> None:
    make, says = COSTLY[kind]
    data = make()
    for trace in (False, True):
        with budget(CPU_S, MEMORY, trace), pytest.raises(Unreadable) as caught:
            inspect_state(data, X, max_bytes=2**24)
        assert says in str(caught.value)
        del caught


def test_as_many_tensors_as_may_be_are_looked_at_in_time() -> None:
    data = pickled(names(MAX_TENSORS, one), MAX_TENSORS)
    with budget(CPU_S, MEMORY, trace=False):
        assert len(inspect_state(data, X)) == MAX_TENSORS


# -------------------------------------------------------------------------------------- damaged files
LSTM = OrderedDict(nn.LSTM(2, 2).state_dict())
SOUND = [
    saved(GOOD),
    old(GOOD),
    archive(good()),
    saved(LSTM),
    old({"w": nn.Parameter(torch.ones(2))}),
]
PIECES = [
    *(
        b"\x80\x02",
        b"(",
        b"t",
        b"R",
        b"b",
        b"h\x00",
        b"q\x00",
        b"u",
        b"}",
        b"]",
        b".",
        b"Q",
        b"\x85",
        b"c",
        b"\n",
    ),
    *(b"\xff" * 4, b"\0" * 4, b"\x7f", b"\x88", b"K\x00", b"PK\x05\x06", b"PK\x01\x02"),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A sound file that is cut, flipped, or has pieces of such files put in or taken out, in the pickle mostly."""
    data = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(1, 4))):
        last = len(data) if draw(st.booleans()) else min(len(data), 700)
        at = draw(st.integers(0, max(last - 1, 0)))
        match draw(st.integers(0, 4)):
            case 0:
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                piece = draw(st.sampled_from(PIECES))
                data[at : at + len(piece)] = piece
            case 2:
                data[at:at] = draw(st.sampled_from(PIECES))
            case 3:
                del data[at : at + draw(st.integers(1, 30))]
            case _:
                data = data[: max(at, 4)] if draw(st.integers(0, 3)) == 0 else data
    return bytes(data)


@settings(max_examples=400)
@given(damaged())
def test_damaged_files_are_refused_or_loaded_as_described(data: bytes) -> None:
    """No other exception than Unreadable, no more than the stated time; what is described is what torch loads."""
    with budget(CPU_S, MEMORY, trace=False):
        try:
            told, said = inspect_state(data, X, max_bytes=2**20), ""
        except Unreadable as error:
            told, said = {}, str(error)
    if said:
        assert str(refusal(data, 2**20)) == said
    else:
        state = load_state(data, X, max_bytes=2**20)
        assert told == described(state)
        assert all(type(value) is Tensor and not value.__dict__ for value in state.values())
        assert all(bytes(value.untyped_storage()) in data for value in state.values())


def test_reading_a_file_is_the_same_as_reading_its_bytes(tmp_path: Path) -> None:
    """Both doors, `files` and `tensors`, refuse the same."""
    (tmp_path / "x.pt").write_bytes(hidden_bomb())
    with pytest.raises(Unreadable, match="can't be read as tensors"):
        files.read_state(tmp_path / "x.pt")
    with pytest.raises(Unreadable, match="can't be read as tensors"):
        files.read_dataset(tmp_path / "x.pt")
