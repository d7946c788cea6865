"""Whoever only looks, says yes, or waits, waits for no torch and runs nothing of a stranger's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fedkit as fk
from fedkit.datasite.datasite import Datasite
from fedkit.federation.network import Network
from fedkit.protocol.approval import approve_all, why_declined
from tests.support.helpers import ALICE, BOB, launched

# An import of torch, or of what brings it, raises where its entry is None.
WITHOUT = """
import sys
for name in ("torch", "torchvision", "opacus"):
    sys.modules[name] = None
from fedkit.cli.main import main
sys.argv = ["fedkit", *sys.argv[1:]]
main()
"""


def fedkit(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a Python that can't import torch."""
    command = [sys.executable, "-c", WITHOUT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A project that everybody was asked for; nobody has answered."""
    network = launched(tmp_path_factory.mktemp("asked"))
    for _ in range(2):  # the aggregator must have seen their mailboxes
        network.advance()
    return network


def config_of(site: Datasite) -> Path:
    return site.data_dir / "config.json"


def waiting(site: Datasite) -> subprocess.CompletedProcess[str]:
    """What `fedkit client` does and says when it can do no more."""
    owner = ("--email", site.email, "--data-dir", site.data_dir, "--port", "8080")
    return fedkit("client", *owner, "--config_path", config_of(site), "--once")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["client", "--help"],
        ["data", "--help"],
        ["course", "list"],
        ["course", "grade", "--help"],
        ["sweep", "--help"],
    ],
    ids=" ".join,
)
def test_help_and_lists_need_no_torch(arguments: list[str]) -> None:
    done = fedkit(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_what_is_promised_and_demanded_is_read_without_what_computes_it() -> None:
    names = "privacy config.dp privacy.guarantees privacy.report_page"
    names += " privacy.dp.policy privacy.dp.budget privacy.dp.mechanism privacy.dp.account"
    imports = "; ".join(f"import fedkit.{name}" for name in names.split())
    heavy = "{'torch', 'opacus', 'dp_accounting', 'scipy', 'numpy'}"
    code = f"import sys; {imports}; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_status_in_every_role_needs_no_torch(asked: Network) -> None:
    for site in asked.sites.values():
        done = fedkit("status", "--config_path", config_of(site))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "must approve the request" in done.stdout


def test_a_client_that_waits_needs_no_torch(asked: Network) -> None:
    for email in (asked.aggregator, BOB):
        done = waiting(asked[email])
        assert done.returncode == 3, done.stdout + done.stderr
        assert "approve the request" in done.stdout


def test_approving_needs_no_torch(tmp_path: Path) -> None:
    network = launched(tmp_path)
    for _ in range(2):
        network.advance()
    (project,) = network.projects()
    done = fedkit("approve", project, "--config_path", config_of(network[ALICE]), "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert network[ALICE].client().project(project).path.is_dir()
    # the mailbox is open now, and the data are there: still nothing to compute
    done = fedkit("status", "--config_path", config_of(network[ALICE]))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_policys_refusal_needs_no_torch(tmp_path: Path) -> None:
    network = launched(tmp_path)
    for _ in range(2):
        network.advance()
    (project,) = network.projects()
    site = network[ALICE]
    policy = '{"unit": "example", "epsilon": 8, "delta": 1e-4}'
    (site.private_client / "policy.json").write_text(policy, encoding="utf-8")
    done = fedkit("approve", project, "--config_path", config_of(site), "--yes")
    assert done.returncode == 1
    assert "promises no differential privacy" in done.stdout + done.stderr
    assert waiting(site).returncode == 0  # it has declined
    assert why_declined(site, project) is not None


def test_a_participant_that_waits_between_rounds_needs_no_torch(tmp_path: Path) -> None:
    network = launched(tmp_path)
    while not any(
        network[email].client().project(name).trained(1).is_file()
        for name in network.projects()
        for email in (ALICE, BOB)
    ):
        network.advance(approve_all)
    network.sync()
    for email in (ALICE, BOB):
        done = waiting(network[email])
        assert done.returncode == 3, done.stdout + done.stderr
        assert "aggregate round 1" in done.stdout


def test_looking_never_runs_a_launched_model(tmp_path: Path) -> None:
    network = launched(tmp_path)
    site = network[network.aggregator]
    marker = tmp_path / "it ran"
    model = f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n{fk.SAMPLE_MODEL}"
    (site.aggregator().launch / "model.py").write_text(model, encoding="utf-8")
    rows = fk.status(site)
    assert [row.state for row in rows if row.project != "" and row.role == "aggregator"]
    assert not marker.exists()
    fk.advance(site)
    assert marker.exists()  # the owner acted: now it was built, once, to see whether it fits


def test_status_remembers_why_a_launch_was_refused(tmp_path: Path) -> None:
    network = launched(tmp_path)
    site = network[network.aggregator]
    model = site.aggregator().launch / "model.py"
    sound = model.read_bytes()
    model.write_text("raise RuntimeError('no')\n", encoding="utf-8")
    assert "can go on" in fk.status(site)[0].text  # not tried yet
    fk.advance(site)
    (row,) = [row for row in fk.status(site) if row.state == "problem"]
    assert "raises an error while it loads" in row.text
    model.write_bytes(sound)
    assert "can go on" in fk.status(site)[0].text  # other bytes: nobody knows yet
    fk.advance(site)
    assert network.projects()
