"""What can be wrong with a file: its bytes, its JSON, its tensors, its name. Strategies for hypothesis.

Everything is drawn from a real file, or from a grammar near it, so that most of it gets past the first look.
"""

from __future__ import annotations

import copy
import io
import json
import os
import pickletools
import zipfile
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

EXAMPLES = float(os.environ.get("FEDKIT_FUZZ", "1"))
"""So many times the usual number of examples, drawn anew each time; by default always the same ones."""


def fuzzed(examples: int) -> settings:
    """Bounded, and the same examples in each run; FEDKIT_FUZZ=100 takes a hundred times as many, and others."""
    return settings(
        max_examples=max(1, int(examples * EXAMPLES)),
        deadline=None,
        derandomize=EXAMPLES == 1,
        database=None,
        suppress_health_check=list(st_health()),
        print_blob=False,
    )


def st_health() -> Any:
    from hypothesis import HealthCheck

    return HealthCheck


# -------------------------------------------------------------------------------------------- values
class Raw(str):
    """JSON as it stands, where json.dumps could not write it."""


NASTY: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 0.5, -0.0, 10**6, 10**18, 10**400),
    *(float("nan"), float("inf"), -float("inf"), 1e308, 5e-324),
    *(
        "",
        "x",
        "1",
        "\0",
        "\ud800",
        "../..",
        "/etc/passwd",
        "\x1b[2J\n",
        "a\u202eb",
        "é",
        "e\u0301",
    ),
    *("x" * 5000, [], {}, [None], [1, "x"], [[]], {"x": 1}, {"": {}}, [{"name": []}]),
    *(Raw("1" * 5000), Raw("1e999"), Raw("[" * 5000), Raw("[" * 300 + "]" * 300)),
    *(Raw("[" * 900 + "]" * 900), Raw('{"a":1,"a":2}'), Raw("\\"), Raw("NaN")),
]
VALUES = st.one_of(
    st.sampled_from(NASTY),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.recursive(
        st.sampled_from(NASTY[:26]),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
        max_leaves=10,
    ),
)


def written(value: Any) -> bytes:
    """The JSON of a value that may hold `Raw`, and anything else that a careless writer writes."""
    found: dict[str, str] = {}

    def marked(part: Any) -> Any:
        if isinstance(part, Raw):
            found[f"\x02{len(found)}\x03"] = str(part)
            return list(found)[-1]
        if isinstance(part, dict):
            return {str(k): marked(v) for k, v in part.items()}
        return [marked(v) for v in part] if isinstance(part, list | tuple) else part

    text = json.dumps(marked(value))
    for mark, raw in found.items():
        text = text.replace(json.dumps(mark), raw)
    return text.encode()


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    parts = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(place for key, part in parts for place in _places(part, (*path, key)))]


@st.composite
def mutated_json(draw: st.DrawFn, data: bytes) -> bytes:
    """A real JSON value with something in it of another type or size, left out, or twice."""
    value = copy.deepcopy(json.loads(data))
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(_places(value)))
        if not place:
            if draw(st.booleans()):
                value = copy.deepcopy(draw(VALUES))
            elif isinstance(value, dict):
                value[draw(st.text(max_size=8))] = copy.deepcopy(draw(VALUES))
            continue
        *way, last = place
        holder = value
        for key in way:
            holder = holder[key]
        what = draw(st.sampled_from(["other", "other", "other", "gone", "twice"]))
        if what == "gone":
            del holder[last]
        elif what == "twice" and isinstance(holder, dict):
            rest = written(holder[last]).decode(errors="replace")
            holder[last] = Raw(f"{rest}, {json.dumps(str(last))}: {written(draw(VALUES)).decode()}")
        else:
            holder[last] = copy.deepcopy(draw(VALUES))
        if not isinstance(value, dict | list) or b"\x02" in written(value):
            break
    return written(value)


@st.composite
def mutated_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Cut off, bits turned, something put in, something else."""
    what = draw(st.sampled_from(["cut", "flip", "put", "empty", "other", "twice", "zeros", "bom"]))
    at = draw(st.integers(0, max(len(data) - 1, 0)))
    if what == "cut":
        return data[:at]
    if what == "flip" and data:
        found = bytearray(data)
        for place in draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=4)):
            found[place] ^= 1 << draw(st.integers(0, 7))
        return bytes(found)
    if what == "put":
        return data[:at] + draw(st.binary(max_size=12)) + data[at:]
    if what == "twice":
        return data + data
    if what == "zeros":
        return data[:at] + bytes(len(data) - at)
    if what == "bom":
        return draw(
            st.sampled_from([b"\xef\xbb\xbf" + data, data.decode("latin-1").encode("utf-16")])
        )
    return (
        b""
        if what == "empty"
        else draw(
            st.binary(max_size=60)
            | st.sampled_from([b"[" * 100_000, b"{}", b"[]", b"null", b"\x80\x02."])
        )
    )


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """A real file with something wrong; JSON as JSON, most of the time."""
    try:
        json.loads(data)
    except ValueError:
        return mutated_bytes(data)
    return st.one_of(mutated_json(data), mutated_json(data), mutated_bytes(data))


# ------------------------------------------------------------------------------------------- tensors
def _opcodes(data: bytes) -> list[bytes]:
    """The instructions of a pickle, one by one."""
    places = [place for _, _, place in pickletools.genops(data)]
    ends = [*places[1:], len(data)]
    return [data[a:b] for a, b in zip(places, ends, strict=True)]  # type: ignore[arg-type]


FOREIGN = [
    b"cbuiltins\neval\n", b"cos\nsystem\n", b"ctorch\nTensor\n", b"ccollections\nOrderedDict\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch\nFloatStorage\n", b"cbuiltins\nbytearray\n", b"R", b"b", b"o", b"Q", b"t", b"(", b"}", b"]",
    b"0", b"2", b"1", b"J\xff\xff\xff\x7f", b"J\x00\x00\x00\x80", b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
    b"\x8b\xff\xff\xff\x7f", b"X\xff\xff\xff\x7f", b"K\x00", b"N", b"\x88", b"h\x00", b"q\xff",
    b"r\xff\xff\xff\x7f", b"\x85", b"\x86", b"\x87", b"u", b"s", b"e", b"a", b".", b"G" + b"\x7f\xf0" + bytes(6),
]  # fmt: skip


@st.composite
def mutated_pickle(draw: st.DrawFn, data: bytes) -> bytes:
    """Instructions left out, doubled, exchanged, put in."""
    found = _opcodes(data)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(found) - 1))
        what = draw(st.sampled_from(["out", "twice", "swap", "put", "many", "bytes"]))
        if what == "out" and len(found) > 1:
            del found[at]
        elif what == "twice":
            found.insert(at, found[at])
        elif what == "swap":
            other = draw(st.integers(0, len(found) - 1))
            found[at], found[other] = found[other], found[at]
        elif what == "many":
            found[at:at] = [draw(st.sampled_from(FOREIGN))] * draw(
                st.sampled_from([5, 500, 20_000])
            )
        elif what == "bytes":
            found[at] = draw(mutated_bytes(found[at]))
        else:
            found.insert(at, draw(st.sampled_from(FOREIGN)))
    return b"".join(found)


@st.composite
def mutated_zip(draw: st.DrawFn, data: bytes) -> bytes:
    """The archive written anew, with other entries, other names, another pickle."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        entries = [(info.filename, source.read(info)) for info in source.infolist()]
    what = draw(
        st.sampled_from(["pickle", "pickle", "pickle", "name", "gone", "twice", "content", "pack"])
    )
    at = draw(st.integers(0, len(entries) - 1))
    if what == "pickle":
        entries = [
            (n, draw(mutated_pickle(c)) if n.endswith("data.pkl") else c) for n, c in entries
        ]
    elif what == "name":
        name = st.text(min_size=1, max_size=8) | st.sampled_from(
            ["../x", "a/data.pkl", "archive/data/-1"]
        )
        entries[at] = (draw(name), entries[at][1])
    elif what == "gone":
        del entries[at]
    elif what == "twice":
        entries.append(entries[at])
    elif what == "content":
        entries[at] = (entries[at][0], draw(mutated_bytes(entries[at][1])))
    packing = zipfile.ZIP_DEFLATED if what == "pack" else zipfile.ZIP_STORED
    target = io.BytesIO()
    import warnings

    with warnings.catch_warnings(), zipfile.ZipFile(target, "w", packing) as archive:
        warnings.simplefilter("ignore")
        for name, content in entries:
            info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode("utf-8", "replace"))
            info.compress_type = packing
            archive.writestr(info, content)
    return target.getvalue()


def mutated_tensors(new: bytes, old: bytes) -> st.SearchStrategy[bytes]:
    """A file of `torch.save` in its two formats, with something wrong."""
    return st.one_of(mutated_zip(new), mutated_bytes(new), mutated_old(old), mutated_bytes(old))


@st.composite
def mutated_old(draw: st.DrawFn, data: bytes) -> bytes:
    """The format before torch 1.6: five pickles in a row, then the numbers."""
    parts, rest = [], data
    for _ in range(5):
        length = max(place for _, _, place in pickletools.genops(rest)) + 1  # type: ignore[type-var,operator]
        parts.append(rest[:length])
        rest = rest[length:]
    at = draw(st.integers(0, 5))
    if at == 5:
        return b"".join(parts) + draw(mutated_bytes(rest))
    parts[at] = draw(mutated_pickle(parts[at]))
    return b"".join(parts) + rest


# --------------------------------------------------------------------------------------------- names
PIECES = [
    *'abAB1._-+ ~@%:/\\*?"<>|\0\n\t\r\x7f\x1b',
    *(
        "é",
        "e\u0301",
        "ß",
        "ſ",
        "İ",
        "ı",
        "K",
        "\u202e",
        "\u200b",
        "\ud800",
        "\U0001f600",
        "¹",
        "．",
    ),
    *(
        "..",
        ".tmp",
        ".syftrejected",
        "con",
        "NUL",
        "com1",
        "COM¹",
        "CONIN$",
        "aux.",
        "C:",
        "::$DATA",
    ),
    *(".pt", ".py", ".json", "@x.org", "@example.org", "alice", "x" * 64, "x" * 130, "y" * 300),
    *("syft.pub.yaml", "_.syftperm", "fl_config.json", ".fedkit", "xn--e1a"),
]
NAMES = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=5).map("".join),
    st.text(max_size=12),
    st.sampled_from(NASTY),
)

Check = Callable[[Any], Any]
