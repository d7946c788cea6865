"""How the committed sample was made, and that it can be made again, byte for byte."""

import hashlib
import io
import random
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.support import ROOT
from tests.support.digits import raw_set
from tests.support.helpers import complaint
from tools import rebuild_mnist as rebuild_module
from tools.rebuild_mnist import build_sample, pack, rebuild


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


def test_committed_sample_packs_to_itself() -> None:
    probe = bytes(random.Random(0).choices(b"\0\0\0\0\0\0\1\2\3\200\377", k=200_000))
    expected = "6e8f2ae36e6a6fcf70882ed4226e34aca5a7edbc961c1db8b75a46eb26f36fe2"
    if hashlib.sha256(zlib.compress(probe, 9)).hexdigest() != expected:
        pytest.skip(f"this Python's zlib {zlib.ZLIB_RUNTIME_VERSION} packs differently")
    data = (ROOT / "data" / "mnist_12k.npz").read_bytes()
    assert pack(dict(np.load(io.BytesIO(data)))) == data


def test_the_tool_says_what_is_missing(tmp_path: Path) -> None:
    asked = [sys.executable, "-m", "tools.rebuild_mnist", str(tmp_path)]
    run = subprocess.run(asked, capture_output=True, text=True, cwd=ROOT, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("error: ")
    assert "train-images-idx3-ubyte" in run.stderr.replace("\n", "")
