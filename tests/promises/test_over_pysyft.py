"""The same projects at home and over PySyft 0.10, and what a hostile peer can't do there: PySyft itself is asked.

It needs packages that fedkit does without, so that an interpreter of its own runs `pysyft_cases.py`.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from fedkit.base.files import sha256_bytes, write_dataset
from fedkit.data.shards import write_shard
from fedkit.protocol.approval import approve_all
from tests.support import ROOT
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    PROJECT,
    held_out,
    launched,
    posix,
    put_launch,
    shard,
    small,
)
from tests.support.pysyft_network import PySyftProcesses, pysyft_python

pytestmark = posix


def run_cases(*chosen: str) -> None:
    command = [pysyft_python(), "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "FEDKIT_FUZZ": "20"}
    env.pop(
        "PYTEST_ADDOPTS", None
    )  # of the run around it: a folder for temporary files would be emptied
    done = subprocess.run(
        [*command, "tests/promises/pysyft_cases.py"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_with_pysyft_itself() -> None:
    run_cases("-m", "not slow")


@pytest.mark.slow
def test_masked_and_two_sided_with_pysyft_itself() -> None:
    run_cases("-m", "slow")


@pytest.mark.slow
@pytest.mark.parametrize("kills", [0, 6])
def test_three_processes_give_the_same_models_however_often_they_are_killed(
    tmp_path: Path, kills: int
) -> None:
    net, chance = PySyftProcesses(tmp_path, [ALICE, BOB]), random.Random(kills)
    for number, email in enumerate((ALICE, BOB)):
        write_shard(net.sites[email].private_client, shard([2 * number, 2 * number + 1]))
    write_dataset(net.sites[AGGREGATOR].private_aggregator / "mnist_test_dataset.pt", *held_out())
    put_launch(net.sites[AGGREGATOR], small())
    deaths = list[str]()
    began = time.monotonic()
    due = [began + 6 + sum(chance.uniform(2, 7) for _ in range(n)) for n in range(kills)]

    def kill_somebody() -> None:
        if due and time.monotonic() > due[0]:
            due.pop(0)
            deaths.append(chance.choice(list(net.sites)))
            net.kill(deaths[-1])
            net.start(deaths[-1])

    with net:
        net.until_done(PROJECT, kill_somebody)
    home = launched(tmp_path / "home")
    assert home.run(approve=approve_all).done
    places = [
        net.sites[AGGREGATOR].aggregator().project(PROJECT, "done"),
        *(net.sites[email].client().project(PROJECT, "done") for email in (ALICE, BOB)),
    ]
    own = home[AGGREGATOR].aggregator().project(PROJECT, "done")
    for n in range(3):
        wanted = sha256_bytes(own.global_model(n).read_bytes())
        assert {sha256_bytes(place.global_model(n).read_bytes()) for place in places} == {wanted}
    assert len(deaths) >= min(kills, 3), deaths  # it took long enough to be killed
    for site in net.sites.values():
        assert not [path for path in site.data_dir.rglob("*") if "syftrejected" in path.name]
