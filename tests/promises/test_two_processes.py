"""Two kernels on one network: each file is whole, nothing allowed is refused, and the bits are one kernel's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedkit.base.errors import Busy
from fedkit.datasite.lock import locked
from fedkit.federation import network as network_module
from fedkit.federation.network import Network
from fedkit.protocol.approval import approve_all
from tests.support.helpers import ALICE, BOB, final_model, launched

KERNEL = """
import json, sys
import fedkit as fk

said = []
net = fk.Network.open(sys.argv[1], workers=1)
try:
    done = net.run(approve=fk.approve_all, on_event=lambda event: said.append(repr(event))).done
except fk.FedkitError as error:
    done = type(error).__name__
print(json.dumps([done, said]))
"""


def test_two_kernels_run_one_network(tmp_path: Path) -> None:
    alone = launched(tmp_path / "alone", participants=[ALICE, BOB], rounds=3)
    alone.run(approve=approve_all)
    net = launched(tmp_path / "both", participants=[ALICE, BOB], rounds=3)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", KERNEL, str(net.root)]
    kernels = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outcomes = []
    for kernel in kernels:
        out, _ = kernel.communicate(timeout=300)
        assert kernel.returncode == 0
        outcomes.append(json.loads(out))
    # who finds everything in the other one's hands goes away, and says for what it would have waited
    assert {done for done, _ in outcomes} <= {True, False, "Busy"}
    said = [line for _, lines in outcomes for line in lines]
    assert not [line for line in said if "FileRefused" in line or "Problem" in line]
    assert list(net.root.rglob("*syftrejected*")) == []
    assert list(net.root.rglob(".fedkit-*.tmp")) == []
    again = Network.open(net.root)
    assert again.run().done
    assert final_model(again) == final_model(alone)


def test_who_moves_a_datasite_for_longer_than_a_moment_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_module, "_MOMENT_S", 0.05)
    net = launched(tmp_path, participants=[ALICE, BOB])
    with locked(net[BOB]), pytest.raises(Busy) as caught:
        net.run(approve=approve_all)
    assert caught.value.file == net[BOB].root
    assert f"process {os.getpid()} " in str(caught.value.why)
    assert net.run(approve=approve_all).done
