"""Batch experiments: specs that are checked, runs that are recognised, sweeps that are cut off and go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import fedkit as fk
from fedkit.base.errors import Busy, FedkitError
from fedkit.cli.main import app
from fedkit.experiments.progress import makespan, time_left, words
from fedkit.experiments.spec import code_version, make_plan, read_spec, run_id
from fedkit.experiments.sweep import finished, folder_of
from fedkit.experiments.table import label, write_tables
from fedkit.experiments.trial import check_trial, run_trial

SMALL = {"rounds": 2, "images": 100, "participants": 5, "learning_rate": 0.2}
MODEL = """
import os, sys, time
import torch
from torch import nn
class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)
    def forward(self, images):
        if len(images) > 2:  # when it is loaded, it is tried on two blank images
            {act}
        return self.fc(images.flatten(1))
"""
RAISES = MODEL.format(act="raise ValueError('too many images')")
DIES = MODEL.format(
    act="print('a word'); sys.stderr.write('the last words'); sys.stderr.flush(); os._exit(5)"
)
SLEEPS = MODEL.format(act="time.sleep(60)")


def spec(**changes: Any) -> dict[str, Any]:
    return {"run": "simulate", "fixed": SMALL, "grid": {"partition": ["iid", "shards"]}} | changes


# ------------------------------------------------------------------------------------------ specs
@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"sedes": 3}, "sedes", "did you mean seeds?"),
        ({"run": "simulat"}, "run", "did you mean simulate?"),
        ({"run": 99}, "run", "00_start_here"),
        ({"run": "away.ipynb"}, "run", "no notebook away.ipynb"),
        ({"run": 4, "edition": "first"}, "edition", "learner, solutions"),
        ({"grid": {"lerning_rate": [1]}}, "grid.lerning_rate", "did you mean learning_rate?"),
        ({"grid": {"lerning_rate": [1]}}, "grid.lerning_rate", "batch_size, weighting"),
        ({"grid": {"partition": "iid"}}, "grid.partition", "['iid']"),
        ({"grid": {"partition": []}}, "grid.partition", "list of values"),
        ({"grid": {"rounds": [1, 2]}}, "grid.rounds", "`grid` and in `fixed`"),
        ({"grid": {"partition": ["iid", "iid"]}}, "grid", "twice: rounds 2"),
        ({"grid": {"seed": [1, 2]}}, "grid.seed", "seeds: [0, 1, 2]"),
        ({"grid": {"partition": ["idd"]}}, "partition", "'iid'"),
        ({"grid": {"partition": ["dirichlet"]}}, "alpha", "add alpha"),
        ({"grid": {"learning_rat": [1]}}, "grid.learning_rat", "did you mean learning_rate?"),
        ({"fixed": {"learning_rate": -1}}, "learning_rate", "above 0"),
        ({"fixed": {"participants_per_round": 11}}, "participants_per_round", "11 of 10"),
        ({"fixed": {"strategy": "fedporx"}}, "strategy.name", "did you mean 'fedprox'?"),
        ({"fixed": {"model": "my.py"}}, "model", "2nn"),
        ({"fixed": [1]}, "fixed", "list, not names and values"),
        ({"list": {"rounds": 1}}, "list", "list of mappings"),
        ({"list": [{"runds": 1}]}, "list[0].runds", "did you mean rounds?"),
        ({"seeds": 0}, "seeds", "count from 1"),
        ({"seeds": [1, 1]}, "seeds", "different whole numbers"),
        ({"limit_s": "soon"}, "limit_s", "no number of seconds"),
    ],
)
def test_a_wrong_spec_is_explained(changes: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(FedkitError) as caught:
        make_plan(spec(**changes), file=Path("mine.yaml"))
    assert caught.value.field == field
    assert said in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run: [", "in line 1"),
        ("- a", "holds a list"),
        ("grid:\n  rounds: [1]\n  rounds: [2]", "'rounds' stands there twice"),
    ],
)
def test_a_file_that_is_no_spec_is_explained(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(FedkitError, match=r"s\.yaml") as caught:
        read_spec(tmp_path / "s.yaml")
    assert said in str(caught.value)


def test_a_list_times_a_grid_the_first_seed_first() -> None:
    plan = make_plan(
        spec(list=[{"epoch": 1}, {"epoch": 2, "batch_size": 20}], seeds=[0, 5]), file=None
    )
    assert [(r.seed, r.shown["epoch"], r.shown["partition"]) for r in plan.runs] == [
        (seed, epoch, partition)
        for seed in (0, 5)
        for epoch in (1, 2)
        for partition in ("iid", "shards")
    ]
    assert plan.swept == ["epoch", "partition", "batch_size"]
    assert {run.values["seed"] for run in plan.runs} == {0, 5}
    assert plan.runs[0].values["batch_size"] == 10  # the default: it is part of what decides


# --------------------------------------------------------------------------------------- identity
def test_a_run_has_another_name_when_anything_about_it_changes(tmp_path: Path) -> None:
    base = run_id("simulate", {"a": 1, "b": 2}, "code", "notebook")
    assert run_id("simulate", {"b": 2, "a": 1}, "code", "notebook") == base
    others = [
        run_id("other", {"a": 1, "b": 2}, "code", "notebook"),
        run_id("simulate", {"a": 1, "b": 3}, "code", "notebook"),
        run_id("simulate", {"a": 1, "b": 2, "c": 3}, "code", "notebook"),
        run_id("simulate", {"a": 1, "b": 2}, "newer", "notebook"),
        run_id("simulate", {"a": 1, "b": 2}, "code", "changed"),
    ]
    assert len({base, *others}) == 6


def test_the_code_version_sees_every_source(tmp_path: Path) -> None:
    def version(files: dict[str, str]) -> str:
        folder = tmp_path / str(time.monotonic_ns())
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text.encode())
        return code_version(folder)

    base = version({"a.py": "x = 1\n", "p/b.py": ""})
    assert version({"a.py": "x = 1\n", "p/b.py": "", "notes.txt": "!"}) == base
    assert version({"a.py": "x = 1\r\n", "p/b.py": ""}) == base  # a checkout on Windows
    assert version({"a.py": "x = 2\n", "p/b.py": ""}) != base
    assert version({"a.py": "x = 1\n", "p/c.py": ""}) != base
    assert version({"a.py": "x = 1\n", "b.py": ""}) != base


def ids(plan_of: dict[str, Any], file: Path | None = None) -> list[str]:
    return [run.id for run in make_plan(plan_of, file=file).runs]


def test_models_and_notebooks_are_part_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ids(spec()) == ids(spec())
    assert ids(spec(fixed=SMALL | {"epoch": 1})) == ids(spec())  # said or not: 1 is the default
    assert not set(ids(spec(fixed=SMALL | {"epoch": 2}))) & set(ids(spec()))
    for text in ("", "\n# changed\n"):
        Path(f"m{len(text)}.py").write_text(RAISES + text)
        notebook(Path(f"n{len(text)}.ipynb"), "x = 1" + text)
    assert ids(spec(fixed=SMALL | {"model": "m0.py"})) != ids(
        spec(fixed=SMALL | {"model": "m11.py"})
    )
    one, other = ({"run": name, "grid": {"rounds": [1]}} for name in ("n0.ipynb", "n11.ipynb"))
    Path("n11.ipynb").rename("sub.ipynb")
    before = ids(one)
    Path("sub.ipynb").replace("n0.ipynb")
    assert ids(one) != before
    assert other["run"] == "n11.ipynb"


def notebook(path: Path, code: str) -> None:
    """A notebook with parameters `rounds` and `seed`, and one more cell."""
    parameters = nbformat.v4.new_code_cell("rounds: int = 3  # rounds\nseed: int = 0  # seed")
    parameters.metadata["tags"] = ["parameters"]
    cells = [parameters, nbformat.v4.new_code_cell(code)]
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=about), path)


# ------------------------------------------------------------------------------------ one trial
def test_a_trial_is_simulate_with_the_same_settings() -> None:
    found = run_trial(check_trial({**SMALL, "partition": "shards", "seed": 3, "batch_size": 10}))
    digits, draw = fk.load_mnist(), fk.generator(3, "partition")
    chosen = torch_permutation(len(digits.train_labels), draw)[:100]
    images, labels = digits.train_images[chosen], digits.train_labels[chosen]
    parts = fk.split_shards(labels, 5, 2, generator=draw)
    config = check_trial({**SMALL, "seed": 3}).config()
    test = fk.as_float(digits.test_images), digits.test_labels
    history = fk.simulate(
        config,
        fk.take(images, labels, parts),
        test,
        weights=fk.seed_weights(fk.SAMPLE_MODEL, 3),
    )
    assert found["accuracies"] == history.accuracies
    assert found["rounds_run"] == 2
    assert found["accuracy"] == history.accuracies[-1]


def torch_permutation(count: int, draw: Any) -> Any:
    import torch

    return torch.randperm(count, generator=draw)


def test_a_trial_stops_at_its_target_and_says_when() -> None:
    values = {"rounds": 30, "images": 500, "participants": 5, "learning_rate": 0.3}
    found = run_trial(check_trial({**values, "target": 0.6}))
    assert found["accuracies"][-1] >= 0.6 > max(found["accuracies"][:-1])
    assert found["rounds_run"] - 1 < found["rounds_to_target"] <= found["rounds_run"] < 30
    assert run_trial(check_trial({**SMALL, "target": 1.0}))["rounds_to_target"] is None


def test_all_is_one_batch_for_the_largest_shard() -> None:
    whole = {**SMALL, "partition": "sizes", "alpha": 1.0}
    everything = run_trial(check_trial({**whole, "batch_size": "all"}))
    assert everything == run_trial(check_trial({**whole, "batch_size": 100}))
    assert everything != run_trial(check_trial({**whole, "batch_size": 10}))


@pytest.mark.parametrize(
    "partition",
    [
        {"partition": "dirichlet", "alpha": 0.5},
        {"partition": "labels", "labels_each": 2},
        {"partition": "sizes", "alpha": 1.0},
    ],
)
def test_every_partition_runs_and_depends_on_the_seed(partition: dict[str, Any]) -> None:
    one, other = (run_trial(check_trial({**SMALL, **partition, "seed": s})) for s in (0, 1))
    assert one["accuracies"] != other["accuracies"]
    assert 0 <= one["heterogeneity"] < 1


# ------------------------------------------------------------------------------- rounds to reach
def test_rounds_to_reach_by_hand() -> None:
    # between round 2 (0.5) and round 4 (0.9) the best so far stays 0.5 for a round: it counts from round 3 on
    assert fk.rounds_to_reach([0.3, 0.5, 0.4, 0.9], 0.7) == pytest.approx(3.5)
    assert fk.rounds_to_reach([0.3, 0.5], 0.5) == 2
    assert fk.rounds_to_reach([0.3, 0.5], 0.4) == pytest.approx(1.5)
    assert fk.rounds_to_reach([0.9, 0.5], 0.5) == 1
    assert fk.rounds_to_reach([0.3, 0.5], 0.51) is None
    assert fk.rounds_to_reach([], 0.5) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.01, 1))
def test_rounds_to_reach_lies_in_the_round_of_the_first_crossing(
    curve: list[float], target: float
) -> None:
    import numpy as np

    best = np.maximum.accumulate(curve)
    crossed = np.flatnonzero(best >= target)
    found = fk.rounds_to_reach(curve, target)
    if not len(crossed):
        assert found is None
        return
    n = int(crossed[0])  # the round before it, from 1
    assert found is not None
    assert max(1, n) <= found <= n + 1
    if n:
        assert np.interp(found, [n, n + 1], best[n - 1 : n + 1]) == pytest.approx(target)


# ------------------------------------------------------------------------------------- time left
def test_time_left_counts_the_workers() -> None:
    assert makespan([], [10.0] * 4, 2) == 20
    assert makespan([], [10.0] * 5, 2) == 30
    assert makespan([4.0, 8.0], [10.0], 2) == 14
    assert makespan([-3.0], [], 2) == 0  # it takes longer than expected already


@given(st.lists(st.floats(0, 100), max_size=12), st.integers(1, 5))
def test_makespan_is_never_better_than_possible(waiting: list[float], workers: int) -> None:
    found = makespan([], waiting, workers)
    assert found >= max(waiting, default=0)
    assert found * workers >= sum(waiting) - 1e-6
    assert found <= sum(waiting) / workers + max(waiting, default=0) + 1e-6  # Graham 1969
    assert makespan([], waiting, 1) == pytest.approx(sum(waiting))


def test_time_left_uses_the_same_parameters_with_other_seeds_where_it_can() -> None:
    assert time_left({}, [("a", 1.0)], ["a"], 2) is None
    measured = {"slow": [100.0], "fast": [10.0, 20.0]}
    left = time_left(measured, [("fast", 5.0)], ["slow"], 2)
    assert left is not None
    assert left.expected == 100  # the fast one ends in 10 s, the slow one begins at once
    assert (left.lowest, left.highest, left.measured) == (10, 100, 3)
    new = time_left({"slow": [100.0], "fast": [20.0]}, [], ["new", "new"], 1)
    assert new is not None
    assert new.expected == 120
    assert str(new) == "about 2 min left (40 s to 3 min), from 2 runs"
    assert words(8000) == "2 h 13 min"


# ---------------------------------------------------------------------------------- whole sweeps
@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """A sweep over simulate in which one model raises, one ends its process, and the others are fine."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "raises.py").write_text(RAISES)
    (folder / "dies.py").write_text(DIES)
    models = [str(folder / "dies.py"), "tutorial", str(folder / "raises.py"), "2nn"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONPATH", raising=False)
        frame = fk.sweep(spec(grid={"model": models}), folder / "out", jobs=1)
    return folder, frame


def test_a_failed_run_is_written_down_and_the_rest_go_on(mixed: tuple[Path, pd.DataFrame]) -> None:
    _, frame = mixed
    assert frame["status"].tolist() == ["failed", "done", "failed", "done"]
    assert frame["error"][0] == "its process ended with exit code 5\na word\nthe last words"
    assert frame["error"][2] == "ValueError: too many images"
    assert frame["error"][[1, 3]].isna().all()
    assert frame["accuracy"].notna().tolist() == [False, True, False, True]
    assert (frame["seconds"] > 0).all()


def test_the_tables_have_a_row_a_run_and_a_row_a_round(mixed: tuple[Path, pd.DataFrame]) -> None:
    folder, frame = mixed
    pd.testing.assert_frame_equal(fk.results(folder / "out"), frame)
    rounds = fk.results(folder / "out", by_round=True)
    assert rounds["round"].tolist() == [1, 2, 1, 2]
    assert rounds["model"].tolist() == ["tutorial", "tutorial", "2nn", "2nn"]
    found = run_trial(check_trial({**SMALL, "model": "2nn"}))
    assert rounds["accuracy"].tolist()[2:] == found["accuracies"]
    assert frame["accuracy"][3] == found["accuracy"]
    kept = json.loads((folder / "out" / frame["folder"][3] / "run.json").read_text())
    assert kept["recorded"] == found
    assert kept["values"]["seed"] == 0


def test_what_is_done_is_not_run_again(mixed: tuple[Path, pd.DataFrame]) -> None:
    folder, frame = mixed
    seen: list[str] = []

    def note(run: Any, kept: Any) -> None:
        seen.append(run.shown["model"])

    models = list(frame["model"])
    again = fk.sweep(spec(grid={"model": models}), folder / "out", on_result=note)
    assert seen == []
    pd.testing.assert_frame_equal(again, frame)
    # another spec over the same runs: its own table, nothing run
    only = fk.sweep(spec(fixed=SMALL | {"model": "2nn"}, grid=None), folder / "out", on_result=note)
    assert seen == []
    assert only["run"].tolist() == [frame["run"][3]]
    raises = spec(fixed=SMALL | {"model": models[2]}, grid=None)
    fk.sweep(raises, folder / "out", jobs=1, retry=True, on_result=note)
    assert seen == [models[2]]
    fk.sweep(spec(grid={"model": models}), folder / "out")  # the tables as they were


def test_two_sweeps_in_one_folder_do_not_mix(mixed: tuple[Path, pd.DataFrame]) -> None:
    out = mixed[0] / "out"
    with FileLock(out / ".lock"), pytest.raises(Busy, match="another sweep"):
        fk.sweep(spec(), out)


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    (tmp_path / "sleeps.py").write_text(SLEEPS)
    slow = spec(fixed=SMALL | {"model": str(tmp_path / "sleeps.py")}, grid=None, limit_s=0.5)
    frame = fk.sweep(slow, tmp_path / "out", jobs=1)
    assert frame["status"].tolist() == ["timed out"]
    assert frame["error"].tolist() == ["stopped after 0.5 s"]


def wait_for(there: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").is_file() and ") Z " in Path(f"/proc/{pid}/stat").read_text()


@pytest.fixture
def watched(tmp_path: Path) -> tuple[dict[str, Any], Path]:
    """A spec of forty short runs, and the file into which every process that loads its model writes its id."""
    pids = tmp_path / "pids"
    keep = f"with open({str(pids)!r}, 'a') as file:\n    file.write(str(os.getpid()) + '\\n')\n"
    (tmp_path / "m.py").write_text("import os\n" + keep + MODEL.format(act="pass"))
    fixed = SMALL | {"rounds": 8, "model": str(tmp_path / "m.py")}
    return {"run": "simulate", "fixed": fixed, "seeds": 40}, pids


def files_of(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("runs/*/run.json")}


@pytest.mark.skipif(os.name == "nt", reason="ids of processes")
def test_ctrl_c_ends_the_workers_and_keeps_what_is_done(
    tmp_path: Path, watched: tuple[dict[str, Any], Path]
) -> None:
    asked, pids = watched

    def stop_after_two(run: Any, kept: Any) -> None:
        if len(files_of(tmp_path / "out")) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fk.sweep(asked, tmp_path / "out", jobs=1, on_result=stop_after_two)
    assert len(fk.results(tmp_path / "out")) == 2  # the table of what there is
    for pid in set(map(int, pids.read_text().split())) - {os.getpid()}:
        wait_for(lambda: gone(pid))  # noqa: B023


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_sweep_that_is_killed_goes_on_where_it_was(
    tmp_path: Path, watched: tuple[dict[str, Any], Path]
) -> None:
    asked, pids = watched
    (tmp_path / "s.yaml").write_text(json.dumps(asked))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "fedkit", "sweep", "s.yaml", "--out", "out", "--jobs", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: len(files_of(out)) >= 2)
        process.kill()
    for pid in map(int, set(pids.read_text().split())):
        wait_for(lambda: gone(pid))  # noqa: B023
    done = files_of(out)
    assert 2 <= len(done) < 40
    ran: list[str] = []
    asked["seeds"] = len(done) + 1
    frame = fk.sweep(asked, out, jobs=1, on_result=lambda run, kept: ran.append(run.id[:12]))
    assert len(ran) == 1
    assert files_of(out) == {**done, ran[0]: files_of(out)[ran[0]]}  # the others: untouched
    assert frame["status"].tolist() == ["done"] * (len(done) + 1)
    whole = run_trial(check_trial(asked["fixed"] | {"seed": 0}))
    assert frame["accuracy"][0] == whole["accuracy"]


# ------------------------------------------------------------------------------------- notebooks
@pytest.fixture(scope="module")
def notebooks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """A sweep over a notebook that fails for 0 rounds, through the command."""
    folder = tmp_path_factory.mktemp("notebooks")
    notebook(
        folder / "mine.ipynb",
        "from fedkit.teaching.notebook import record\n"
        "record(half=rounds / 2, rounds=rounds, accuracies=[1 / rounds, 0.9], name='x')",
    )
    asked = {"run": "mine.ipynb", "grid": {"rounds": [0, 4]}, "seeds": [3]}
    (folder / "s.yaml").write_text(json.dumps(asked))
    done = CliRunner().invoke(app, ["sweep", str(folder / "s.yaml"), "--out", str(folder / "out")])
    assert done.exit_code == 1, done.output  # one has failed
    assert "2 runs: 1 done, 1 failed" in done.output
    assert "failed: rounds 0, seed 3: cell 3: ZeroDivisionError" in done.output
    return folder, fk.results(folder / "out")


def test_notebooks_are_executed_with_their_parameters(notebooks: tuple[Path, pd.DataFrame]) -> None:
    folder, frame = notebooks
    assert frame["rounds"].tolist() == [0, 4]
    assert frame["status"].tolist() == ["failed", "done"]
    assert "division by zero" in frame["error"][0]
    done = frame.iloc[1]
    assert (done["half"], done["recorded.rounds"], done["name"]) == (2.0, 4, "x")
    copy = nbformat.read(folder / "out" / done["folder"] / "mine.ipynb", as_version=4)
    assert "rounds = 4\nseed = 3" in copy.cells[1].source
    assert (folder / "out" / frame["folder"][0] / "mine.ipynb").is_file()  # to look at what failed
    rounds = fk.results(folder / "out", by_round=True)
    assert rounds[["round", "accuracy"]].values.tolist() == [[1, 0.25], [2, 0.9]]


def test_ctrl_c_ends_a_sweep_over_notebooks(tmp_path: Path) -> None:
    notebook(tmp_path / "mine.ipynb", "1")
    seen: list[str] = []

    def stop(run: Any, kept: Any) -> None:
        seen.append(kept["status"])
        raise KeyboardInterrupt

    asked = {"run": str(tmp_path / "mine.ipynb"), "seeds": 4}
    with pytest.raises(KeyboardInterrupt):  # the second is under way, two more are waiting
        fk.sweep(asked, tmp_path / "out", jobs=1, on_result=stop)
    assert seen == ["done"]
    assert fk.results(tmp_path / "out")["status"].tolist() == ["done"]


def test_a_notebook_that_changed_is_run_again(notebooks: tuple[Path, pd.DataFrame]) -> None:
    folder, _ = notebooks
    plan = make_plan(read_spec(folder / "s.yaml"), file=folder / "s.yaml")
    assert len(finished(plan, folder / "out")) == 2
    before = (folder / "mine.ipynb").read_bytes()
    notebook(folder / "mine.ipynb", "x = 2")
    changed = make_plan(read_spec(folder / "s.yaml"), file=folder / "s.yaml")
    assert finished(changed, folder / "out") == {}
    (folder / "mine.ipynb").write_bytes(before)
    assert len(finished(plan, folder / "out")) == 2
    (folder_of(folder / "out", plan.runs[1]) / "run.json").write_text('{"run": ')  # cut off
    assert len(finished(plan, folder / "out")) == 1


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"grid": {"round": [1]}}, "grid.round", "did you mean rounds?"),
        ({"grid": {"rounds": ["many"]}}, "rounds", "is no int"),
    ],
)
def test_a_notebook_has_its_own_parameters(
    tmp_path: Path, changes: dict[str, Any], field: str, said: str
) -> None:
    notebook(tmp_path / "mine.ipynb", "1")
    with pytest.raises(FedkitError) as caught:
        make_plan({"run": "mine.ipynb", **changes}, file=tmp_path / "s.yaml")
    assert caught.value.field == field
    assert said in str(caught.value)


def test_lessons_are_found_by_number() -> None:
    plan = make_plan({"run": 4, "grid": {"learning_rate": [0.1, 0.2]}, "seeds": 2})
    assert plan.target.name == "04_aggregate"
    assert [run.values["learning_rate"] for run in plan.runs] == [0.1, 0.2, 0.1, 0.2]
    without = make_plan({"run": 4})
    assert [run.seed for run in without.runs] == [0]


def test_a_dry_run_lists_and_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(json.dumps(spec(seeds=2)))
    said = CliRunner().invoke(
        app, ["sweep", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out"), "--dry-run"]
    )
    assert said.exit_code == 0
    assert said.output.count("to do") == 4
    assert "4 runs of simulate" in said.output
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------------------------- tables
def test_names_that_a_column_has_already_get_a_prefix(tmp_path: Path) -> None:
    row = {
        "run": "ab" * 32,
        "shown": {"rounds": 3, "strategy": {"name": "fedprox", "mu": 0.1}},
        "seed": None,
        "status": "done",
        "error": None,
        "seconds": 1.5,
        "folder": "runs/x",
        "recorded": {"rounds": 2, "seed": 9, "losses": [0.5, None], "words": ["a"], "ok": True},
    }
    write_tables(tmp_path, [row])
    frame = fk.results(tmp_path)
    assert frame.loc[0, ["rounds", "recorded.rounds", "recorded.seed"]].tolist() == [3, 2, 9]
    assert frame["strategy"][0] == "fedprox(mu=0.1)"
    assert frame["run"][0] == "ab" * 6
    assert fk.results(tmp_path, by_round=True)["loss"].tolist()[0] == 0.5
    assert label([1, 2]) == "[1, 2]"
    assert label({"name": "fedavg"}) == "fedavg"


def test_a_folder_without_results_is_explained(tmp_path: Path) -> None:
    with pytest.raises(FedkitError, match=r"results.csv"):
        fk.results(tmp_path)
    row = {"run": "a", "shown": {}, "seed": 0, "status": "done", "error": None, "seconds": 1.0}
    write_tables(tmp_path, [row | {"folder": "runs/a", "recorded": {"x": 1}}])
    with pytest.raises(FedkitError, match="accuracies"):
        fk.results(tmp_path, by_round=True)


# --------------------------------------------------------------------------------------- picture
def frame_of(values: dict[tuple[str, str, int], list[float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"place": a, "rule": b, "seed": seed, "round": n, "accuracy": value}
            for (a, b, seed), curve in values.items()
            for n, value in enumerate(curve, 1)
        ]
    )


CURVES = {
    ("x", "one", 0): [0.1, 0.2],
    ("x", "one", 1): [0.3, 0.6],
    ("x", "two", 0): [0.5, 0.5],
    ("y", "one", 0): [0.4, 0.8],
    ("y", "one", 1): [0.4, 0.4],
    ("y", "one", 2): [0.4, 0.6],
}


def band_of(axes: Any, number: int) -> list[tuple[float, float]]:
    """(low, high) of a filled band at each x."""
    corners = axes.collections[number].get_paths()[0].vertices
    return [
        (corners[corners[:, 0] == x, 1].min(), corners[corners[:, 0] == x, 1].max())
        for x in sorted(set(corners[:, 0]))
    ]


def test_small_multiples_show_means_and_bands_over_seeds() -> None:
    fig = fk.plots.small_multiples(frame_of(CURVES), panels="place", lines="rule")
    left, right = fig.axes
    assert [ax.get_title() for ax in fig.axes] == ["x", "y"]
    assert left.lines[0].get_ydata() == pytest.approx([0.2, 0.4])
    assert left.lines[1].get_ydata() == pytest.approx([0.5, 0.5])
    assert len(left.collections) == 1  # the rule with one seed has no band
    assert band_of(left, 0) == [pytest.approx((0.1, 0.3)), pytest.approx((0.2, 0.6))]
    assert right.lines[0].get_ydata() == pytest.approx([0.4, 0.6])
    assert left.get_ylim() == right.get_ylim()
    assert "mean over 3 seeds; band: smallest to largest" in fig.get_suptitle()
    fig = fk.plots.small_multiples(frame_of(CURVES), panels="place", lines="rule", band="sd")
    assert band_of(fig.axes[1], 0)[1] == pytest.approx((0.6 - 0.2, 0.6 + 0.2))  # sd of .8 .4 .6


def test_small_multiples_refuse_what_nobody_could_read() -> None:
    frame = frame_of(CURVES)
    with pytest.raises(FedkitError, match="no column 'acuracy'"):
        fk.plots.small_multiples(frame, y="acuracy")
    with pytest.raises(FedkitError, match="nothing to draw"):
        fk.plots.small_multiples(frame[:0])
    many = frame.assign(place=range(len(frame)), rule=range(len(frame)))
    for wrong in ({"lines": "rule"}, {"panels": "place", "lines": "seed", "band": "all"}):
        with pytest.raises(FedkitError):
            fk.plots.small_multiples(many, **wrong)  # type: ignore[arg-type]
