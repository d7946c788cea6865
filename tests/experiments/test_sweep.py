"""Sweeps that are cut off and go on: every run is done once, a failed one is written down, and nothing is mixed."""

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
from typer.testing import CliRunner

import fedkit as fk
from fedkit.base.errors import Busy, FedkitError
from fedkit.base.files import write_dataset
from fedkit.cli.main import app
from fedkit.config.fl_config import TUTORIAL_KEYS
from fedkit.data.folder import write_data_folder
from fedkit.experiments.spec import make_plan, read_spec
from fedkit.experiments.sweep import finished, folder_of
from fedkit.experiments.trial import check_trial, run_trial
from tests.support.helpers import ALICE, BOB
from tests.support.sweeps import MODEL, RAISES, SMALL, notebook, spec
from tests.support.tasks import KINDS

DIES = MODEL.format(
    act="print('a word'); sys.stderr.write('the last words'); sys.stderr.flush(); os._exit(5)"
)
SLEEPS = MODEL.format(act="time.sleep(60)")


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


# ----------------------------------------------------------------------------------- data of one's own
@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data of one's own, a model, a spec beside them, and the sweep's results in out/."""
    folder, kind = tmp_path_factory.mktemp("own"), KINDS["a table"]
    shards = dict(zip((ALICE, BOB), kind.shards, strict=True))
    write_data_folder(folder / "hospitals", kind.task, shards, kind.test)
    (folder / "model.py").write_text(kind.model)
    (folder / "s.yaml").write_text(
        "run: simulate\ndata: hospitals\n"
        f"fixed: {{model: {folder / 'model.py'}, rounds: 2, learning_rate: 1e-1}}\n"
        "list: [{batch_size: 16}, {epoch: 2}]\n"
    )
    done = CliRunner().invoke(app, ["sweep", str(folder / "s.yaml"), "--out", str(folder / "out")])
    assert done.exit_code == 0, done.output
    assert "nan" not in done.output.lower()
    return folder


def test_a_sweep_over_own_data_is_what_run_does(own: Path) -> None:
    frame = fk.results(own / "out")
    assert frame["batch_size"].tolist()[0] == 16
    assert frame["epoch"].tolist()[1] == 2
    assert frame[["batch_size", "epoch"]].isna().to_numpy().tolist() == [
        [False, True],
        [True, False],
    ]
    assert "heterogeneity" not in frame
    settings = ["rounds=2", "learning_rate=0.1", "batch_size=16", "epoch=1"]
    changes = [word for setting in settings for word in ("--set", setting)]
    config = KINDS["a table"].config().model_dump(mode="json", include=set(TUTORIAL_KEYS))
    (own / "fl_config.json").write_text(json.dumps(config))
    command = ["run", str(own / "fl_config.json"), "--data", str(own / "hospitals")]
    done = CliRunner().invoke(app, [*command, "--out", str(own / "run"), *changes])
    assert done.exit_code == 0, done.output
    history = fk.History.load(own / "run" / "history.json")
    rounds = fk.results(own / "out", by_round=True)
    rounds = rounds[rounds["batch_size"].notna()]
    # a sweep trains participants at once, which sums in another order
    assert rounds["accuracy"].tolist() == pytest.approx(history.accuracies, abs=0.051)
    assert rounds["auc"].tolist() == pytest.approx(history.metrics["auc"], abs=0.02)
    assert rounds["loss"].tolist() == pytest.approx([record.loss for record in history], abs=1e-5)
    last = frame.iloc[0]
    assert last["balanced_accuracy"] == pytest.approx(
        history.metrics["balanced_accuracy"][-1], abs=0.06
    )


def test_data_that_changed_are_run_again(own: Path) -> None:
    ran: list[str] = []

    def again() -> list[str]:
        ran.clear()
        fk.sweep(
            own / "s.yaml", own / "out", jobs=1, on_result=lambda run, kept: ran.append(run.id)
        )
        return ran

    samples, labels = KINDS["a table"].shards[0]
    path = own / "hospitals" / "shards" / ALICE / "shard.pt"
    before = path.read_bytes()
    path.touch()
    assert again() == []
    write_dataset(path, samples[1:], labels[1:])
    assert len(again()) == 2
    path.write_bytes(before)
    assert again() == []
    assert (own / "out" / "spec.yaml").read_text() == (own / "s.yaml").read_text()


def test_data_that_change_while_a_sweep_runs_are_not_mixed(own: Path) -> None:
    values = dict(make_plan(read_spec(own / "s.yaml"), file=own / "s.yaml").runs[0].values)
    with pytest.raises(FedkitError, match="has changed since"):
        check_trial(values | {"data_sha256": "0" * 64})
