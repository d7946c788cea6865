"""The digits: the sample that comes with the clone, and the full set from MNIST's raw files."""

import gzip
import hashlib
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fedkit.cli.data import app
from fedkit.data import idx as idx_module
from fedkit.data import mnist as mnist_module
from fedkit.data.idx import RAW_FILES, parse_idx
from fedkit.data.mnist import install_full, load_mnist
from tests.support import ROOT
from tests.support.digits import idx_bytes, raw_set
from tests.support.helpers import complaint, mnist

# ------------------------------------------------------------------------------------ raw files
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
def test_committed_sample() -> None:
    digits = mnist()
    data = (ROOT / "data" / "mnist_12k.npz").read_bytes()
    stated = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
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


def test_sample_missing_or_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDKIT_DATA", str(tmp_path))
    path = tmp_path / "mnist_12k.npz"
    assert complaint(load_mnist).file == path
    data = bytearray((ROOT / "data" / "mnist_12k.npz").read_bytes())
    path.write_bytes(data)
    assert len(load_mnist("auto").test_labels) == 2000  # no full set here
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert complaint(load_mnist).file == path
    assert "fedkit data full" in str(complaint(lambda: load_mnist(full=True)).remedy)
    assert complaint(lambda: load_mnist(full="yes")).field == "full"  # type: ignore[arg-type]


def test_light_import() -> None:
    code = "import sys, fedkit.data.mnist; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_beside_a_wheel_the_full_set_is_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What pip has installed may be anybody's, or read-only."""
    monkeypatch.delenv("FEDKIT_DATA", raising=False)
    assert mnist_module.full_dir() == mnist_module.data_dir() == ROOT / "data"
    monkeypatch.setattr(mnist_module, "clone", lambda: None)
    monkeypatch.setattr(mnist_module.Path, "home", lambda: tmp_path)
    assert mnist_module.full_dir() == tmp_path / ".fedkit" / "data"
    monkeypatch.setenv("FEDKIT_DATA", str(tmp_path / "named"))
    assert mnist_module.full_dir() == tmp_path / "named"
