"""A sweep's spec: checked key by key, its runs in order, and a name for each that changes with all that decides."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.experiments.spec import code_version, make_plan, read_spec, run_id
from tests.support.sweeps import RAISES, SMALL, notebook, spec


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
