"""The digits: raw files, the sample, partitions, shards on disk, sample files for the tutorial."""

import gzip
import hashlib
import io
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fedkit.base.errors import FedkitError
from fedkit.cli.data import app
from fedkit.data import idx as idx_module
from fedkit.data import mnist as mnist_module
from fedkit.data.idx import RAW_FILES, parse_idx
from fedkit.data.mnist import MNIST, install_full, load_mnist
from fedkit.data.partition import by_digits, iid, split_by_digits, split_iid, take
from fedkit.data.shards import as_float, check_dataset, read_shard, write_shard
from fedkit.learning.models import load_model
from fedkit.rounds.starting_point import write_samples
from tools import rebuild_mnist as rebuild_module
from tools.rebuild_mnist import build_sample, pack, rebuild

DATA = Path(__file__).resolve().parent.parent / "data"


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits() -> MNIST:
    return load_mnist()


def complaint(call: Callable[[], Any]) -> FedkitError:
    """The FedkitError that `call` raises; it always says what to do."""
    with pytest.raises(FedkitError) as caught:
        call()
    assert caught.value.remedy
    return caught.value


# ------------------------------------------------------------------------------------ raw files
def idx_bytes(array: np.ndarray) -> bytes:
    """IDX as its description has it: magic 0 0 type dimensions, big-endian sizes, values."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return header + array.tobytes()


def raw_set(folder: Path, monkeypatch: pytest.MonkeyPatch, train: int = 90, test: int = 47) -> dict:
    """A small set under MNIST's names, and the package believing that this is MNIST. Returns the arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    arrays = {}
    for prefix, n in (("train", train), ("t10k", test)):
        labels = np.concatenate([np.arange(10), rng.integers(0, 10, n - 10)]).astype(np.uint8)
        rng.shuffle(labels)
        images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        images[:, 0, 0] = np.arange(n)  # tells one image from another
        arrays[f"{prefix}-images-idx3-ubyte"] = images
        arrays[f"{prefix}-labels-idx1-ubyte"] = labels
    for name, array in arrays.items():
        data = idx_bytes(array)
        (folder / name).write_bytes(data)
        monkeypatch.setitem(RAW_FILES, name, (array.shape, hashlib.sha256(data).hexdigest()))
    return arrays


@given(shape=st.lists(st.integers(0, 5), min_size=1, max_size=4), seed=st.integers(0, 2**32 - 1))
def test_idx_round_trip(shape: list[int], seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    read = parse_idx(idx_bytes(array), "x")
    assert read.dtype == np.uint8
    assert np.array_equal(read, array)
    assert read.shape == array.shape


GOOD_IDX = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4))
BAD_IDX = {
    "nothing": (b"", "magic"),
    "three bytes": (GOOD_IDX[:3], "magic"),
    "a png": (b"\x89PNG\r\n\x1a\n" + bytes(40), "magic"),
    "gzip inside": (gzip.compress(GOOD_IDX), "magic"),
    "no dimension": (b"\0\0\x08\0" + bytes(1), "magic"),
    "200 dimensions": (b"\0\0\x08\xc8" + bytes(800), "magic"),
    "floats": (b"\0\0\x0d\x02" + GOOD_IDX[4:], "magic"),
    "little-endian": (b"\x01\x08\0\0" + GOOD_IDX[4:], "magic"),
    "cut in its header": (GOOD_IDX[:9], "size"),
    "header alone": (GOOD_IDX[:12], "size"),
    "cut by one byte": (GOOD_IDX[:-1], "size"),
    "one byte more": (GOOD_IDX + b"\0", "size"),
    "sizes beyond memory": (b"\0\0\x08\x04" + b"\xff" * 16 + bytes(9), "size"),
}


@pytest.mark.parametrize("case", BAD_IDX)
def test_bad_idx(case: str) -> None:
    data, field = BAD_IDX[case]
    error = complaint(lambda: parse_idx(data, "train-images-idx3-ubyte"))
    assert error.field == field
    assert error.file == Path("train-images-idx3-ubyte")


LABELS = "t10k-labels-idx1-ubyte"


def fake(folder: Path) -> None:
    labels = parse_idx((folder / LABELS).read_bytes(), LABELS)
    (folder / LABELS).write_bytes(idx_bytes(labels[::-1]))


def packed(folder: Path, change: Callable[[bytes], bytes]) -> None:
    data = gzip.compress((folder / LABELS).read_bytes(), mtime=0)
    (folder / f"{LABELS}.gz").write_bytes(change(data))
    (folder / LABELS).unlink()


BAD_RAW: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "missing": (lambda d: (d / LABELS).unlink(), LABELS, "is not there"),
    "too few": (
        lambda d: (d / LABELS).write_bytes(idx_bytes(np.zeros(3, np.uint8))),
        LABELS,
        "[3]",
    ),
    "another set": (fake, LABELS, "is not MNIST's"),
    "cut gz": (lambda d: packed(d, lambda x: x[:-9]), f"{LABELS}.gz", "can't be unpacked"),
    "broken gz": (
        lambda d: packed(d, lambda x: x[:20] + b"!!" + x[22:]),
        f"{LABELS}.gz",
        "unpacked",
    ),
    "no gz": (lambda d: packed(d, lambda x: b"hello"), f"{LABELS}.gz", "can't be unpacked"),
    "a bomb": (
        lambda d: packed(d, lambda x: gzip.compress(bytes(4000))),
        f"{LABELS}.gz",
        "unpacks to",
    ),
    "too large": (lambda d: (d / LABELS).write_bytes(bytes(3001)), LABELS, "3,001 bytes"),
}


@pytest.mark.parametrize("case", BAD_RAW)
def test_bad_raw_files_install_nothing(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage, name, words = BAD_RAW[case]
    monkeypatch.setenv("FEDKIT_DATA", str(tmp_path / "data"))
    raw_set(tmp_path / "raw", monkeypatch)
    if case in ("a bomb", "too large"):
        monkeypatch.setattr(idx_module, "MAX_RAW_BYTES", 3000)
        for prefix in ("train", "t10k"):  # these alone are larger than that
            monkeypatch.delitem(RAW_FILES, f"{prefix}-images-idx3-ubyte")
    damage(tmp_path / "raw")
    error = complaint(lambda: install_full(tmp_path / "raw"))
    assert error.file == tmp_path / "raw" / name
    assert words in error.what
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("form", ["plain", "gz"])
def test_full_set_from_a_folder(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDKIT_DATA", str(tmp_path / "data"))
    arrays = raw_set(tmp_path / "raw", monkeypatch)
    if form == "gz":
        for name in arrays:
            plain = tmp_path / "raw" / name
            plain.with_name(f"{name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
            plain.unlink()
    result = CliRunner().invoke(app, ["full", "--from", str(tmp_path / "raw")])
    assert result.exit_code == 0, result.output
    for loaded in (load_mnist(full=True), load_mnist(full="auto")):
        assert np.array_equal(loaded.train_images.numpy(), arrays["train-images-idx3-ubyte"])
        assert np.array_equal(loaded.test_labels.numpy(), arrays["t10k-labels-idx1-ubyte"])
        assert loaded.train_labels.dtype == loaded.test_labels.dtype == torch.int64
        assert loaded.test_images.dtype == torch.uint8
    # a second time, with no source: all is there, nothing is downloaded
    monkeypatch.setattr(mnist_module, "_download", lambda: pytest.fail("downloaded"))
    assert len(install_full()) == 4


def test_damaged_full_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDKIT_DATA", str(tmp_path))
    raw_set(tmp_path / "MNIST" / "raw", monkeypatch)
    images = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    for data in (idx_bytes(np.zeros((89, 28, 28), np.uint8)), images.read_bytes()[:1000]):
        images.write_bytes(data)
        assert "fedkit data full" in str(complaint(lambda: load_mnist(full=True)).remedy)


def test_no_internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDKIT_DATA", str(tmp_path))
    seen = []

    def refuse(*_: object, **__: object) -> None:
        seen.append(socket.getdefaulttimeout())
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nunreachable")

    monkeypatch.setattr("torchvision.datasets.MNIST", refuse)
    error = complaint(install_full)
    assert "--from" in str(error.remedy)
    assert seen != [None]  # it would not wait for ever
    assert socket.getdefaulttimeout() is None


# ----------------------------------------------------------------------------------- the sample
def test_sample_rule_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = raw_set(tmp_path, monkeypatch)
    least = {p: np.bincount(arrays[f"{p}-labels-idx1-ubyte"]).min() for p in ("train", "t10k")}
    first = build_sample(tmp_path, int(least["train"]), 1)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert build_sample(tmp_path, int(least["train"]), 1) == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
        assert {entry.create_system for entry in archive.infolist()} == {3}
    loaded = np.load(io.BytesIO(first))
    for part, prefix, k in (("train", "train", int(least["train"])), ("test", "t10k", 1)):
        labels = arrays[f"{prefix}-labels-idx1-ubyte"].tolist()
        kept = []
        for digit in range(10):
            where = [i for i, label in enumerate(labels) if label == digit]
            kept += [where[int(i * len(where) / k)] for i in range(k)]
        assert loaded[f"{part}_images"][:, 0, 0].tolist() == sorted(kept)
        assert loaded[f"{part}_labels"].tolist() == [labels[i] for i in sorted(kept)]
    error = complaint(lambda: build_sample(tmp_path, int(least["train"]) + 1, 1))
    assert "fewer than" in error.what


def test_rebuild_never_replaces_the_sample_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_set(tmp_path / "raw", monkeypatch)
    monkeypatch.setenv("FEDKIT_DATA", str(tmp_path))
    data = build_sample(tmp_path / "raw", 1, 1)
    monkeypatch.setattr(rebuild_module, "build_sample", lambda _: data)
    (tmp_path / "mnist_12k.npz").write_bytes(b"old")
    complaint(lambda: rebuild(tmp_path / "raw"))
    assert (tmp_path / "mnist_12k.npz").read_bytes() == b"old"
    monkeypatch.setattr(rebuild_module, "SAMPLE_SHA256", hashlib.sha256(data).hexdigest())
    assert rebuild(tmp_path / "raw").read_bytes() == data


def test_committed_sample(digits: MNIST) -> None:
    data = (DATA / "mnist_12k.npz").read_bytes()
    stated = (DATA / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(data).hexdigest() in stated
    assert f"{len(data):,} bytes" in stated
    assert all(digest in stated for _, digest in RAW_FILES.values())
    assert digits.train_labels.bincount().tolist() == [1000] * 10
    assert digits.test_labels.bincount().tolist() == [200] * 10
    for images in (digits.train_images, digits.test_images):
        assert images.dtype == torch.uint8
        assert images.shape[1:] == (28, 28)
        assert (images.min(), images.max()) == (0, 255)
        # MNIST centres each digit in a frame of paper
        assert images[:, [0, -1]].float().mean() < 1 < images[:, 14].float().mean()
    # means of all of MNIST: 33.32 (train) and 33.79 (test); a fair sample is close
    assert abs(digits.train_images.float().mean() - 33.32) < 0.5
    assert abs(digits.test_images.float().mean() - 33.79) < 0.75


def test_committed_sample_packs_to_itself() -> None:
    probe = bytes(random.Random(0).choices(b"\0\0\0\0\0\0\1\2\3\200\377", k=200_000))
    expected = "6e8f2ae36e6a6fcf70882ed4226e34aca5a7edbc961c1db8b75a46eb26f36fe2"
    if hashlib.sha256(zlib.compress(probe, 9)).hexdigest() != expected:
        pytest.skip(f"this Python's zlib {zlib.ZLIB_RUNTIME_VERSION} packs differently")
    data = (DATA / "mnist_12k.npz").read_bytes()
    assert pack(dict(np.load(io.BytesIO(data)))) == data


def test_sample_missing_or_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDKIT_DATA", str(tmp_path))
    path = tmp_path / "mnist_12k.npz"
    assert complaint(load_mnist).file == path
    data = bytearray((DATA / "mnist_12k.npz").read_bytes())
    path.write_bytes(data)
    assert len(load_mnist("auto").test_labels) == 2000  # no full set here
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert complaint(load_mnist).file == path
    assert "fedkit data full" in str(complaint(lambda: load_mnist(full=True)).remedy)
    assert complaint(lambda: load_mnist(full="yes")).field == "full"  # type: ignore[arg-type]


def test_as_module_and_light_import(tmp_path: Path) -> None:
    asked = [sys.executable, "-m", "tools.rebuild_mnist", str(tmp_path)]
    run = subprocess.run(asked, capture_output=True, text=True, cwd=DATA.parent, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("error: ")
    assert "train-images-idx3-ubyte" in run.stderr.replace("\n", "")
    code = "import sys, fedkit.data; sys.exit('torchvision' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=DATA.parent, check=False).returncode == 0
    )


# ----------------------------------------------------------------------------------- partitions
def test_as_float_is_x_over_255() -> None:
    values = torch.arange(256, dtype=torch.uint8).repeat(784)[: 28 * 28 * 256].reshape(256, 28, 28)
    floats = as_float(values)
    assert floats.shape == (256, 1, 28, 28)
    assert floats.dtype == torch.float32
    exact = values.numpy().astype(np.float64) / 255
    assert np.array_equal(floats[:, 0].numpy(), exact.astype(np.float32))


@pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 28, 28), torch.zeros(28, 28, dtype=torch.uint8), torch.zeros(2, 3, 3).byte()],
)
def test_as_float_refuses(images: torch.Tensor) -> None:
    assert complaint(lambda: as_float(images)).field == "images"


labels_strategy = st.lists(st.integers(0, 9), min_size=1, max_size=60).map(torch.tensor)


@given(labels=labels_strategy, data=st.data())
def test_split_by_digits(labels: torch.Tensor, data: st.DataObject) -> None:
    there = sorted(set(labels.tolist()))
    chosen = data.draw(st.permutations(there))[: data.draw(st.integers(1, len(there)))]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(chosen) - 1)))) if len(chosen) > 1 else []
    groups = [chosen[a:b] for a, b in zip([0, *cuts], [*cuts, len(chosen)], strict=True)]
    fewest = min(labels.tolist().count(digit) for digit in chosen)
    per_digit = data.draw(st.none() | st.integers(1, fewest))
    seed = data.draw(st.integers(0, 99))
    state = torch.get_rng_state()
    parts = split_by_digits(labels, groups, per_digit, generator=seeded(seed))
    assert torch.equal(torch.get_rng_state(), state)
    everything = [i for part in parts for i in part.tolist()]
    assert len(everything) == len(set(everything))
    for group, part in zip(groups, parts, strict=True):
        assert part.dtype == torch.int64
        held = labels[part].tolist()
        assert set(held) == set(group)
        for digit in group:
            assert held.count(digit) == (per_digit or labels.tolist().count(digit))
    again = split_by_digits(labels, groups, per_digit, generator=seeded(seed))
    assert all(torch.equal(a, b) for a, b in zip(parts, again, strict=True))


@given(labels=labels_strategy, data=st.data())
def test_split_iid(labels: torch.Tensor, data: st.DataObject) -> None:
    participants = data.draw(st.integers(1, len(labels)))
    each = data.draw(st.none() | st.integers(1, len(labels) // participants))
    state = torch.get_rng_state()
    parts = split_iid(labels, participants, each, generator=seeded(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(parts) == participants
    sizes = [len(part) for part in parts]
    everything = sorted(i for part in parts for i in part.tolist())
    assert len(set(everything)) == len(everything)
    if each is None:
        assert everything == list(range(len(labels)))
        assert max(sizes) - min(sizes) <= 1
    else:
        assert set(sizes) == {each}
        assert everything[0] >= 0
        assert everything[-1] < len(labels)
    again = split_iid(labels, participants, each, generator=seeded(1))
    assert all(torch.equal(a, b) for a, b in zip(parts, again, strict=True))


def test_partitions_mix_as_they_say(digits: MNIST) -> None:
    labels = digits.train_labels
    for part in split_iid(labels, 4, generator=seeded()):
        # 250 of each digit are expected, with a standard deviation of about 13
        assert (labels[part].bincount(minlength=10) - 250).abs().max() < 70
    low, high = split_by_digits(labels, generator=seeded())
    assert labels[low].bincount(minlength=10).tolist() == [800] * 5 + [0] * 5
    assert labels[high].bincount(minlength=10).tolist() == [0] * 5 + [800] * 5
    other = split_by_digits(labels, generator=seeded(1))[0]
    assert set(other.tolist()) != set(low.tolist())


THREE = torch.tensor([0, 0, 1])
REFUSED: dict[str, tuple[Callable[[], Any], str, str]] = {
    "no groups": (lambda: split_by_digits(THREE, [], generator=seeded()), "groups", "empty"),
    "empty group": (
        lambda: split_by_digits(THREE, [[0], []], generator=seeded()),
        "groups",
        "group 1",
    ),
    "flat list": (lambda: split_by_digits(THREE, [0, 1], generator=seeded()), "groups", "group 0"),  # type: ignore[list-item]
    "digit 10": (lambda: split_by_digits(THREE, [[10]], 1, generator=seeded()), "groups", "10"),
    "digit -1": (lambda: split_by_digits(THREE, [[-1]], 1, generator=seeded()), "groups", "-1"),
    "digit True": (
        lambda: split_by_digits(THREE, [[True]], 1, generator=seeded()),
        "groups",
        "True",
    ),
    "digit '1'": (lambda: split_by_digits(THREE, ["01"], 1, generator=seeded()), "groups", "'0'"),  # type: ignore[list-item]
    "in two groups": (
        lambda: split_by_digits(THREE, [[0, 1], [1]], 1, generator=seeded()),
        "groups",
        "1 is in group 0 and in group 1",
    ),
    "twice in one": (
        lambda: split_by_digits(THREE, [[1], [0, 0]], 1, generator=seeded()),
        "groups",
        "0 is in group 1 twice",
    ),
    "not in labels": (lambda: split_by_digits(THREE, [[7]], 1, generator=seeded()), "groups", "7"),
    "too many": (
        lambda: split_by_digits(THREE, [[0, 1]], 2, generator=seeded()),
        "per_digit",
        "there are 1",
    ),
    "none a digit": (
        lambda: split_by_digits(THREE, [[0]], 0, generator=seeded()),
        "per_digit",
        "0",
    ),
    "half a digit": (
        lambda: split_by_digits(THREE, [[0]], 0.5, generator=seeded()),
        "per_digit",
        "0.5",
    ),  # type: ignore[arg-type]
    "float labels": (lambda: split_by_digits(THREE / 2, generator=seeded()), "labels", "float32"),
    "byte labels": (lambda: split_iid(THREE.byte(), generator=seeded()), "labels", "uint8"),
    "two dimensions": (lambda: split_iid(THREE[None], generator=seeded()), "labels", "[1, 3]"),
    "nobody": (lambda: split_iid(THREE, 0, generator=seeded()), "participants", "0"),
    "four of three": (lambda: split_iid(THREE, 4, generator=seeded()), "participants", "3 images"),
    "one each of four": (
        lambda: split_iid(THREE, 4, 1, generator=seeded()),
        "per_participant",
        "of 3",
    ),
    "two each": (lambda: split_iid(THREE, 2, 2, generator=seeded()), "per_participant", "of 3"),
    "zero each": (lambda: split_iid(THREE, 2, 0, generator=seeded()), "per_participant", "0"),
    "other images": (lambda: take(torch.zeros(2, 1, 28, 28), THREE, [THREE]), "labels", "2 images"),
    "empty part": (
        lambda: take(torch.zeros(3, 1, 28, 28), THREE, [THREE, THREE[:0]]),
        "parts",
        "part 1",
    ),
    "outside": (lambda: take(torch.zeros(3, 1, 28, 28), THREE, [THREE + 2]), "parts", "0..2"),
    "below": (lambda: take(torch.zeros(3, 1, 28, 28), THREE, [THREE - 1]), "parts", "0..2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_partition_refuses(case: str) -> None:
    call, field, words = REFUSED[case]
    error = complaint(call)
    assert error.field == field
    assert words in error.what


# --------------------------------------------------------------------------------------- shards
def numbered(n: int) -> torch.Tensor:
    """n stored images that can be told apart."""
    images = torch.zeros(n, 28, 28, dtype=torch.uint8)
    images[:, 0, 0], images[:, 0, 1] = torch.arange(n) % 256, torch.arange(n) // 256
    return images


@pytest.mark.parametrize("kind", ["iid", "by_digits"])
def test_shard_reads_back_as_it_was(kind: str, tmp_path: Path) -> None:
    labels = torch.arange(10).repeat(30)[torch.randperm(300, generator=seeded(3))]
    images = numbered(300)
    if kind == "iid":
        shards = iid(images, labels, 3, generator=seeded())
    else:
        shards = by_digits(images, labels, [[3, 1], [0, 9, 8]], 20, generator=seeded())
    for number, (pixels, held) in enumerate(shards):
        original = (pixels[:, 0, 0, 0] * 255 + pixels[:, 0, 0, 1] * 255 * 256).round().long()
        assert torch.equal(labels[original], held)  # each image kept its own label
        folder = tmp_path / str(number)
        names = [path.name for path in write_shard(folder, (pixels, held))]
        assert names == [f"mnist_label_{digit}.pt" for digit in sorted(set(held.tolist()))]
        # as the real client reads them
        for path in folder.iterdir():
            one = torch.load(path, weights_only=True)
            assert isinstance(one, tuple)
            assert set(one[1].tolist()) == {int(path.stem[-1])}
            assert path.stat().st_size < len(one[1]) * 28 * 28 * 4 * 1.2 + 4000  # no hidden rest
        read_images, read_labels = read_shard(folder)
        assert torch.equal(read_images, pixels)
        assert torch.equal(read_labels, held)


def test_only_the_real_clients_names_are_data(tmp_path: Path) -> None:
    images, labels = torch.rand(4, 1, 28, 28), torch.tensor([5, 6, 7, 5])
    torch.save((images, labels), tmp_path / "mnist_label_3.pt")  # any labels inside
    others = ["mnist_label_10.pt", "mnist_label_x.pt", "xmnist_label_1.pt", "mnist_label_1.pt.tmp"]
    for name in [*others, "mnist_label_1xpt", ".mnist_label_2.pt", ".DS_Store"]:
        (tmp_path / name).write_bytes(b"none of ours")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    assert torch.equal(read_shard(tmp_path)[1], labels)


class Trap:
    """A pickle that runs code when it is opened carelessly."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


X, Y = torch.rand(6, 1, 28, 28, generator=seeded()), torch.tensor([0, 1, 2, 3, 4, 9])


def with_value(value: float) -> torch.Tensor:
    changed = X.clone()
    changed[3, 0, 14, 14] = value
    return changed


BAD_DATA: dict[str, tuple[Any, str | None]] = {
    "no channel": ((X[:, 0], Y), "images"),
    "three channels": ((X.repeat(1, 3, 1, 1), Y), "images"),
    "32 pixels": ((torch.rand(6, 1, 32, 32), Y), "images"),
    "flat": ((X.reshape(6, 784), Y), "images"),
    "bytes": (((X * 255).byte(), Y), "images"),
    "doubles": ((X.double(), Y), "images"),
    "halves": ((X.half(), Y), "images"),
    "complex": ((X.to(torch.complex64), Y), "images"),
    "sparse": ((X.to_sparse(), Y), "images"),
    "one number, repeated": ((torch.zeros(1).expand(2**40, 1, 28, 28), Y), "images"),
    "one label, repeated": ((X, torch.zeros(1, dtype=torch.int64).expand(6)), "labels"),
    "0..255": ((X * 255, Y), "images"),
    "normalised": (((X - 0.13) / 0.31, Y), "images"),
    "a little negative": ((with_value(-1e-6), Y), "images"),
    "NaN": ((with_value(float("nan")), Y), "images"),
    "infinite": ((with_value(float("inf")), Y), "images"),
    "minus infinite": ((with_value(float("-inf")), Y), "images"),
    "empty": ((X[:0].clone(), Y[:0].clone()), "images"),
    "fewer labels": ((X, Y[:5].clone()), "labels"),
    "no labels": ((X, Y[:0].clone()), "labels"),
    "one-hot": ((X, torch.eye(10, dtype=torch.int64)[Y]), "labels"),
    "int32 labels": ((X, Y.int()), "labels"),
    "float labels": ((X, Y.float()), "labels"),
    "scalar label": ((X, torch.tensor(3)), "labels"),
    "label 10": ((X, torch.where(Y == 9, 10, Y)), "labels"),
    "label -1": ((X, torch.where(Y == 9, -1, Y)), "labels"),
    "swapped": ((Y, X), "images"),
    "a dict": ({"images": X, "labels": Y}, None),
    "images alone": (X, None),
    "three parts": ((X, Y, Y), None),
    "list of numbers": ((X, [0, 1, 2, 3, 4, 9]), None),
    "truncated": (saved((X, Y))[:-500], None),
    "no bytes": (b"", None),
    "text": (b"not a tensor at all\n", None),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_file(case: str, tmp_path: Path) -> None:
    value, field = BAD_DATA[case]
    torch.save((X, Y), tmp_path / "mnist_label_0.pt")
    path = tmp_path / "mnist_label_1.pt"
    path.write_bytes(value if isinstance(value, bytes) else saved(value))
    error = complaint(lambda: read_shard(tmp_path))
    assert error.file == path
    assert error.field == field


def test_good_data_passes() -> None:
    for images in (X, X[:, :, :, torch.arange(27, -1, -1)], torch.zeros(6, 1, 28, 28), X.round()):
        check_dataset(images, Y, "x")
    check_dataset(X.flip(0)[::2], Y[::2], "x")  # a view whose numbers are all there
    check_dataset(X.clone().requires_grad_(), Y, "x")


def test_code_in_a_data_file_never_runs(tmp_path: Path) -> None:
    (tmp_path / "mnist_label_1.pt").write_bytes(saved((Trap(tmp_path / "ran"), Y)))
    assert complaint(lambda: read_shard(tmp_path)).file == tmp_path / "mnist_label_1.pt"
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "mnist_label_1.pt", weights_only=False)  # the trap is one
    assert (tmp_path / "ran").exists()


def test_links_folders_and_nothing_are_no_data(tmp_path: Path) -> None:
    assert complaint(lambda: read_shard(tmp_path)).file == tmp_path
    assert complaint(lambda: read_shard(tmp_path / "none")).file == tmp_path / "none"
    folder = tmp_path / "folder"
    (folder / "mnist_label_2.pt").mkdir(parents=True)
    assert complaint(lambda: read_shard(folder)).file == folder / "mnist_label_2.pt"
    assert complaint(lambda: read_shard(folder / "..")).file is not None
    if os.name != "nt":
        elsewhere, linked = tmp_path / "secret.pt", tmp_path / "linked"
        torch.save((X, Y), elsewhere)
        linked.mkdir()
        (linked / "mnist_label_4.pt").symlink_to(elsewhere)
        error = complaint(lambda: read_shard(linked))
        assert error.file == linked / "mnist_label_4.pt"
        assert "link" in error.what


def test_bad_shard_is_not_written(tmp_path: Path) -> None:
    assert complaint(lambda: write_shard(tmp_path, (X * 2, Y))).field == "images"
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------- sample files
EIGHT = {
    "project_name",
    "aggregator",
    "participants",
    "rounds",
    "model_arch",
    "model_weight",
    "epoch",
    "learning_rate",
}
FILES = {
    *(f"mnist_label_{digit}.pt" for digit in range(10)),
    *("mnist_test_dataset.pt", "model.py", "global_model_weight.pt", "fl_config.json"),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def sample_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples") / "new"
    result = CliRunner().invoke(
        app,
        [
            *("samples", "--out", str(folder), "--aggregator", "me@example.org"),
            *("--participant", "me@example.org", "--participant", "you@example.org"),
        ],
    )
    assert result.exit_code == 0, result.output
    assert all(name in result.output.replace("\n", "") for name in FILES)
    return folder


def test_sample_files(sample_files: Path, digits: MNIST) -> None:
    assert set(contents(sample_files)) == FILES
    for digit in range(10):
        images, labels = torch.load(sample_files / f"mnist_label_{digit}.pt", weights_only=True)
        check_dataset(images, labels, "x")
        assert labels.tolist() == [digit] * 800
    images, labels = torch.load(sample_files / "mnist_test_dataset.pt", weights_only=True)
    assert torch.equal((images[:, 0] * 255).round().byte(), digits.test_images)
    assert torch.equal(labels, digits.test_labels)
    config = json.loads((sample_files / "fl_config.json").read_bytes())
    assert set(config) == EIGHT
    assert config["aggregator"] == "me@example.org"
    assert config["participants"] == ["me@example.org", "you@example.org"]
    assert (config["rounds"], config["epoch"], config["learning_rate"]) == (3, 10, 0.1)
    assert {config["model_arch"], config["model_weight"]} < FILES
    weights = torch.load(sample_files / "global_model_weight.pt", weights_only=True)
    shapes = {name: list(value.shape) for name, value in weights.items()}
    assert shapes == {
        "fc1.weight": [128, 784],
        "fc1.bias": [128],
        "fc2.weight": [10, 128],
        "fc2.bias": [10],
    }
    model = load_model((sample_files / "model.py").read_bytes())
    model.load_state_dict(weights, strict=True)
    # PyTorch's start for a Linear layer is uniform within 1/sqrt(inputs)
    assert 0.9 / 28 < weights["fc1.weight"].abs().max() <= 1 / 28


def test_sample_files_are_the_same_everywhere(sample_files: Path, tmp_path: Path) -> None:
    torch.manual_seed(123)
    state = torch.get_rng_state()
    people = {"aggregator": "me@example.org", "participants": ["me@example.org", "you@example.org"]}
    written = write_samples(tmp_path, **people)  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), state)
    assert {path.name for path in written} == FILES
    assert contents(tmp_path) == contents(sample_files)
    assert write_samples(tmp_path, **people) == []  # type: ignore[arg-type]

    # somebody's own file is theirs, unless they say otherwise
    (tmp_path / "model.py").write_text("# mine\n")
    (tmp_path / "mnist_label_4.pt").unlink()
    before = contents(tmp_path)
    assert complaint(lambda: write_samples(tmp_path, **people)).file == tmp_path / "model.py"  # type: ignore[arg-type]
    assert contents(tmp_path) == before
    refused = CliRunner().invoke(app, ["samples", "--out", str(tmp_path)])
    assert isinstance(refused.exception, FedkitError)
    people_asked = ["--aggregator", "me@example.org", "--participant", "me@example.org"]
    forced = [*people_asked, "--participant", "you@example.org", "--force"]
    result = CliRunner().invoke(app, ["samples", "--out", str(tmp_path), *forced])
    assert len(re.findall("^wrote", result.output, re.MULTILINE)) == 2
    assert contents(tmp_path) == contents(sample_files)


def test_sample_files_with_bad_addresses(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for people, field in (
        ({"aggregator": "../me"}, "aggregator"),
        ({"participants": ["a@example.org", "A@example.org"]}, "participants"),
        ({"participants": []}, "participants"),
    ):
        error = complaint(lambda people=people: write_samples(out, **people))  # type: ignore[misc]
        assert field in str(error.field)
        assert error.file == out / "fl_config.json"
    assert not out.exists()
