"""The field's work: what is written beside the shards is what every script reads, and the same work in each."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from benchmarks import __main__, field
from benchmarks.field import SCRIPTS, Job, Result, Run, Set, asked, goals, once, table, write_work
from benchmarks.kernels import played, written_down
from benchmarks.models import KINDS


@pytest.fixture(scope="module")
def shared() -> ModuleType:
    """The module that the scripts share, which stands in no package."""
    spec = importlib.util.spec_from_file_location("shared", SCRIPTS / "shared.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["shared"] = module  # where its dataclass looks for the module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", KINDS)
def test_the_scripts_read_what_is_written(
    shared: ModuleType, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model", ModuleType("model"))  # gone again after the test
    write_work(name, tmp_path)
    work, each = shared.load(str(tmp_path)), KINDS[name].each
    assert (work.participants, work.per_round, work.batch, work.rate) == (10, 10, 10, 0.05)
    assert work.labels.shape == (10, each)
    assert len(work.test_labels) == 100

    model = work.model()
    assert all(torch.equal(value, work.weights[key]) for key, value in model.state_dict().items())
    batches = work.shuffled(3)
    seen = torch.cat([labels for _, labels in batches]).sort().values
    assert torch.equal(seen, work.labels[3].sort().values)
    shared.loss(model(batches[0][0]), batches[0][1]).backward()
    assert 0 <= work.accuracy(model) <= 1


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
def test_a_tight_loop_does_the_same_work_as_fedkit(tmp_path: Path) -> None:
    write_work("logistic", tmp_path)
    loop, ours = (
        once(Path(sys.executable), script, Set(1), Job(tmp_path, 8))
        for script in ("with_loop.py", "with_fedkit.py")
    )
    assert loop.accuracy == pytest.approx(ours.accuracy, abs=0.05)
    assert min(loop.round_s, ours.round_s, loop.round_cpu_s, ours.round_cpu_s) > 0


@pytest.mark.skipif(not hasattr(os, "getsid"), reason="sessions are POSIX'")
def test_processes_that_are_started_together_stay_in_one_session() -> None:
    # One write for each process: unbuffered, print writes piece by piece, and two processes' pieces mix.
    says = "import os; told = [os.environ['RANK'], str(os.getsid(0)), os.environ['WORLD_SIZE']]"
    says += "; os.write(1, f'{chr(32).join(told)}{os.linesep}'.encode())"
    together = [sys.executable, str(SCRIPTS / "together.py"), "2", "-c", says]
    told = subprocess.run(together, capture_output=True, text=True, check=True).stdout.split()
    assert sorted([told[:3], told[3:]]) == [[k, str(os.getsid(0)), "2"] for k in "01"]
    broken = [
        *together[:-1],
        "import os, time; os.environ['RANK'] == '0' and time.sleep(60) or exit(3)",
    ]
    assert subprocess.run(broken, check=False, timeout=30).returncode == 3


def test_kernels_are_written_down_and_played_again() -> None:
    """A step of a Linear layer: a product forward, one for its gradient, and the step into the weights."""
    weight, samples = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3)

    def step() -> None:
        (gradient,) = torch.autograd.grad((samples @ weight.t()).relu().sum(), weight)
        with torch.no_grad():
            weight.sub_(gradient)

    kernels, products = written_down(step)
    names = [func.overloadpacket.__name__ for func, _, _ in kernels]
    assert [names.count(name) for name in ("mm", "relu", "threshold_backward", "sub_")] == [
        2,
        1,
        1,
        1,
    ]
    assert [func.overloadpacket.__name__ for func, _, _ in products] == ["mm", "mm"]
    before = weight.detach().clone()
    assert torch.equal(before, torch.full((2, 3), -3.0))
    played(products, 2)
    assert torch.equal(weight, before)
    played(kernels, 2)
    assert torch.equal(weight, before - 8)


def test_options() -> None:
    assert asked([]).model == "2nn"
    assert asked(["--model", "lstm", "--peers", "pfl, 2 processes", "fluke"]).peers == [
        "pfl, 2 processes",
        "fluke",
    ]


@pytest.mark.parametrize("options", [["--model", "vgg"], ["--peers", "none"], ["--rounds", "3"]])
def test_what_there_is_not(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        asked(options)
    assert stopped.value.code == 2
    assert options[0].strip("-") in capsys.readouterr().err


def test_options_reach_the_field_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr(field, "main", given.append)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "field", "--model", "cnn"])
    assert __main__.main() == 0
    assert given == [["--model", "cnn"]]

    for words in (["tutorial", "--model", "cnn"], ["field", "engine", "--model", "cnn"], ["-q"]):
        monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
        assert __main__.main() == 1
        assert "only field, roads take options" in capsys.readouterr().err


def taken(seconds: float, accuracy: float) -> Run:
    """A run in which everything took so long."""
    return Run(*[seconds] * 6, memory_mb=100.0, accuracy=accuracy, versions="some 1.0")


def test_tables_of_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    ours = [taken(1.0, 0.9), taken(2.0, 0.9)]
    results = {
        "fluke": Result(Set(1), 200.0, [taken(3.0, 0.85), taken(4.0, 0.85)], ours),
        "pfl, 2 processes": Result(
            Set(1, processes=2), 300.0, [taken(1.5, 0.7), taken(3.0, 0.7)], ours
        ),
    }
    table(results, {"pfl": "no wheel"}, 100.0, [1.0], 0.1)
    goals(results, 100.0, "cnn")
    printed = capsys.readouterr().out
    assert "| fluke | 2.5x | 2.5x | 2.5x | 2.5x | 2.5x | 2.5x | 2.0x |" in printed
    assert "| 0.700 (NOT THE SAME WORK) |" in printed
    assert "| pfl | could not be measured: no wheel |" in printed
    tables = [line.count("|") for line in printed.splitlines() if line.startswith("|")]
    assert tables == [11] * 6 + [9] * 4  # no row is shorter than its head
    assert [line.split()[-2:] for line in printed.splitlines() if "(c)" in line] == [
        [">=", "1.5x"]
    ] * 2
