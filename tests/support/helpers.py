"""Small builders that the core's tests share: digits by the dozen, a network for a second's work, snapshots."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, Problem, Waiting
from fedkit.base.files import write_bytes, write_dataset, write_state
from fedkit.config.fl_config import FLConfig
from fedkit.data.mnist import MNIST, load_mnist
from fedkit.data.shards import Shard, as_float, write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject
from fedkit.federation.network import Network
from fedkit.learning.models import StateDict, seed_weights
from fedkit.protocol import advance as node
from fedkit.protocol.approval import approve, pending_requests
from tests.support import ROOT

AGGREGATOR, ALICE, BOB = "aggregator@example.org", "alice@example.org", "bob@example.org"
CAROL, EVE = "carol@example.org", "eve@example.org"
PROJECT = "MNIST_FL"

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")

# The smallest model that the wire allows: 31 kB, so that a whole project takes a fraction of a second.
LINEAR = """
import torch
from torch import nn


class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, images):
        return self.fc(images.flatten(1))
"""


def tutorial(**changes: Any) -> dict[str, Any]:
    """The tutorial's eight keys as a dict; a change to `...` leaves the key out."""
    values: dict[str, Any] = {
        "project_name": PROJECT,
        "aggregator": AGGREGATOR,
        "participants": [ALICE, BOB],
        "rounds": 3,
        "model_arch": "model.py",
        "model_weight": "global_model_weight.pt",
        "epoch": 10,
        "learning_rate": 0.1,
    }
    return {key: value for key, value in (values | changes).items() if value is not ...}


def small(**changes: Any) -> FLConfig:
    """An experiment of two rounds of one epoch, in batches of 8."""
    quick = {"rounds": 2, "epoch": 1, "batch_size": 8}
    return FLConfig.from_dict(tutorial(**(quick | changes)))


@functools.cache
def mnist() -> MNIST:
    return load_mnist()


def shard(digits: Iterable[int], per_digit: int = 3, start: int = 0) -> Shard:
    """The first images of each digit, as a participant holds them."""
    labels = mnist().train_labels
    chosen = [torch.nonzero(labels == d).flatten()[start : start + per_digit] for d in digits]
    indices = torch.cat(chosen)
    return as_float(mnist().train_images[indices]), labels[indices]


def held_out(count: int = 40) -> Shard:
    """A small test set with all ten digits in it."""
    indices = torch.arange(0, len(mnist().test_labels), len(mnist().test_labels) // count)[:count]
    return as_float(mnist().test_images[indices]), mnist().test_labels[indices]


@functools.cache
def linear_weights(seed: int = 0) -> StateDict:
    return seed_weights(LINEAR, seed)


def network(
    root: Path, participants: Iterable[str] = (ALICE, BOB), aggregator: str = AGGREGATOR
) -> Network:
    """A network with two digits' data at each participant and a test set; nothing is launched yet."""
    net = Network.create(root, aggregator=aggregator, participants=tuple(participants), workers=1)
    for position, email in enumerate(net.participants):
        net.give_data(email, shard([2 * position, 2 * position + 1]))
    net.give_test(*held_out())
    return net


def launched(root: Path, model: str = LINEAR, **changes: Any) -> Network:
    """`network` with a small experiment in `launch/`."""
    config = small(**changes)
    net = network(root, config.participants, config.aggregator)
    net.launch(config, model)
    return net


def solo(root: Path, email: str = ALICE, app_data: Any = "app_data") -> Datasite:
    """One datasite that is to be aggregator and participant, with data for both."""
    site = Datasite.create(root, email, app_data)
    write_shard(site.private_client, shard([0, 1, 2]))
    write_dataset(site.private_aggregator / "mnist_test_dataset.pt", *held_out())
    return site


def put_launch(
    site: Datasite,
    config: FLConfig | None = None,
    model: str = LINEAR,
    weights: StateDict | bytes | None = None,
) -> FLConfig:
    """Put config, model and weights into `launch/`, as a person would; returns the config."""
    if config is None:
        config = small(aggregator=site.email, participants=[site.email])
    folder = site.aggregator().launch
    write_bytes(folder / config.model_arch, model.encode())
    if isinstance(weights, bytes):
        write_bytes(folder / config.model_weight, weights)
    else:
        write_state(folder / config.model_weight, weights or linear_weights(config.seed))
    config.save(folder / "fl_config.json")
    return config


def run_solo(site: Datasite, project: str = PROJECT) -> list[Event]:
    """Advance, approve what is asked, until nothing more happens."""
    events: list[Event] = []
    while True:
        new = node.advance(site)
        for name in pending_requests(site):
            new.append(approve(site, name))
        events += new
        if all(isinstance(event, Waiting | Problem) for event in new):
            return events


def final_model(net: Network, project: str = PROJECT) -> bytes:
    """The bytes of the last global model of a finished project."""
    return last_model(net.sites[net.aggregator], project)


def last_model(site: Datasite, project: str = PROJECT) -> bytes:
    place: AggregatorProject = site.aggregator().project(project, "done")
    rounds = FLConfig.load(place.config).rounds
    return place.global_model(rounds).read_bytes()


def snapshot(folder: Path, skip: Callable[[str], bool] = lambda path: False) -> dict[str, str]:
    """Every file (sha256), folder and link under `folder`, without fedkit's own scratch folders."""
    found = {}
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != ".fedkit")
        for name in [*folders, *files]:
            path = Path(place) / name
            key = path.relative_to(folder).as_posix()
            if skip(key):
                continue
            if path.is_symlink():
                found[key] = f"-> {path.readlink()}"
            elif path.is_dir():
                found[key] = "folder"
            elif path.is_file():
                found[key] = (
                    hashlib.sha256(path.read_bytes()).hexdigest()
                    if path.stat().st_size < 2**24
                    else f"{path.stat().st_size} bytes"
                )
            else:
                found[key] = "special"
    return found


def complaint(call: Callable[[], Any]) -> FedkitError:
    """The FedkitError that `call` raises; it always says what to do."""
    with pytest.raises(FedkitError) as caught:
        call()
    assert caught.value.remedy
    return caught.value


def problems(events: Iterable[Event]) -> list[str]:
    """What stands in the way, as a person reads it."""
    return [str(event.error) for event in events if isinstance(event, Problem)]


def waits(events: Iterable[Event]) -> list[Waiting]:
    return [event for event in events if isinstance(event, Waiting)]


def python(code: str, *args: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, which can import fedkit and these helpers."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@contextlib.contextmanager
def disk(folder: Path, size: str = "1m") -> Iterator[Path]:
    """A real, tiny file system of its own at `folder`; skips the test where we may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if not (hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("mount")):
        pytest.skip("only root may mount a disk to fill")
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount a disk to fill")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=True)


@contextlib.contextmanager
def by_the_modes() -> Iterator[None]:
    """Root too may do no more than a file's mode says, in this thread; skips the test where that can't be had."""
    libc = ctypes.CDLL(None)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if not hasattr(libc, "capset") or libc.capget(header, sets):
        pytest.skip("only Linux lets root lay down its rights for a while")
    effective = sets[0]
    sets[0] &= ~0b110  # to pass over what modes forbid
    assert not libc.capset(header, sets)
    try:
        yield
    finally:
        sets[0] = effective
        assert not libc.capset(header, sets)


def make_read_only(folder: Path, read_only: bool = True) -> None:
    """Turn a disk made by `disk` into a read-only one, for root too."""
    how = f"remount,{'ro' if read_only else 'rw'}"
    subprocess.run(["mount", "-o", how, str(folder)], capture_output=True, check=True)


def saved(value: object, **how: Any) -> bytes:
    """What `torch.save` makes of any value."""
    buffer = io.BytesIO()
    torch.save(value, buffer, **how)
    return buffer.getvalue()


class Code:
    """Unpickled without care, it makes the file `marker`."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.marker), "w"))


def recompressed(data: bytes) -> bytes:
    """The same torch file with deflated entries: repeated numbers shrink a thousandfold."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as source,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for item in source.infolist():
            target.writestr(item.filename, source.read(item))
    return buffer.getvalue()


def sparse_file(path: Path, size: int) -> Path:
    """A file that claims `size` bytes and takes none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)
    return path
