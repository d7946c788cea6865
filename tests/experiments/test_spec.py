"""A sweep's spec: checked key by key, its runs in order, and a name for each that changes with all that decides."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.errors import FedkitError
from fedkit.base.files import write_dataset
from fedkit.data.folder import write_data_folder
from fedkit.experiments import targets
from fedkit.experiments.local_code import code_version
from fedkit.experiments.spec import make_plan, read_spec, run_id
from fedkit.experiments.trial import OF_DIGITS
from tests.support.sweeps import RAISES, SMALL, notebook, spec
from tests.support.tasks import KINDS


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
        ({"grid": {"optimizer": ["adm"]}}, "optimizer.name", "'sgd', 'adam' or 'adamw'"),
        ({"fixed": {"optimizer": {"name": "adam", "momentum": 0.9}}}, "optimizer", "betas, eps"),
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


# ----------------------------------------------------------------------------------- what values mean
def test_a_file_is_read_as_its_author_means_it(tmp_path: Path) -> None:
    notebook(
        tmp_path / "n.ipynb",
        "1",
        "rate: float = 0.1\nwho: str = 'x'\nwhen = '9:00'\nn = 1\non: bool = True",
    )
    text = "run: n.ipynb\nfixed: {rate: 1e-3, who: 007, when: 12:30, n: 007}\ngrid: {on: [true, false]}"
    (tmp_path / "s.yaml").write_text(text)
    plan = make_plan(read_spec(tmp_path / "s.yaml"), file=tmp_path / "s.yaml")
    assert [dict(run.shown) for run in plan.runs] == [
        {"rate": 0.001, "who": "007", "when": "12:30", "n": 7, "on": on} for on in (True, False)
    ]
    assert plan.runs[0].values == plan.runs[0].shown
    (tmp_path / "s.yaml").write_text("run: n.ipynb\ngrid: {who: [007, 1e-3, true], n: [1, 0x10]}")
    plan = make_plan(read_spec(tmp_path / "s.yaml"), file=tmp_path / "s.yaml")
    assert [run.shown["who"] for run in plan.runs][::2] == ["007", "1e-3", "true"]
    assert [run.shown["n"] for run in plan.runs][:2] == [1, 16]


@pytest.mark.parametrize(
    ("fixed", "field", "said"),
    [
        ("rate: 12:30", "rate", "'12:30' is no float"),
        ("rate: '1e'", "rate", "'1e' is no float"),
        ("n: 1.5", "n", "1.5 is no int"),
        ("n: on", "n", "'on' is no int"),
        ("n:", "n", "None is no int"),
        ("who: ~", "who", "None is no str"),
        ("on: yes", "on", "'yes' is no bool"),
        ("when: [1]", "when", "[1] is no str"),
    ],
)
def test_what_does_not_fit_the_default_is_named(
    tmp_path: Path, fixed: str, field: str, said: str
) -> None:
    notebook(
        tmp_path / "n.ipynb",
        "1",
        "rate: float = 0.1\nwho: str = 'x'\nwhen = '9:00'\nn = 1\non: bool = True",
    )
    (tmp_path / "s.yaml").write_text(f"run: n.ipynb\nfixed:\n  {fixed}\n")
    with pytest.raises(FedkitError) as caught:
        make_plan(read_spec(tmp_path / "s.yaml"), file=tmp_path / "s.yaml")
    assert (caught.value.field, said in str(caught.value)) == (field, True)


def test_simulate_reads_its_parameters_so_too(tmp_path: Path) -> None:
    text = "run: simulate\nfixed: {learning_rate: 1e-3, batch_size: all, strategy: {name: fedprox, mu: 1e-2}}\nseeds: 002"
    (tmp_path / "s.yaml").write_text(text)
    plan = make_plan(read_spec(tmp_path / "s.yaml"))
    assert [run.seed for run in plan.runs] == [0, 1]
    assert plan.runs[0].shown == {
        "learning_rate": 0.001,
        "batch_size": "all",
        "strategy": {"name": "fedprox", "mu": 0.01},
    }
    (tmp_path / "s.yaml").write_text("run: simulate\nfixed: {model: 007}")
    with pytest.raises(FedkitError, match="there is no 007"):
        make_plan(read_spec(tmp_path / "s.yaml"))
    (tmp_path / "s.yaml").write_text("run: simulate\nfixed: &f {strategy: *f}")
    with pytest.raises(FedkitError, match="holds a part of itself"):
        make_plan(read_spec(tmp_path / "s.yaml"))


# ------------------------------------------------------------------------- what else decides a result
def test_what_a_model_imports_is_part_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("more_of_mine.py").write_text("x = 1\n")
    Path("helpers_of_mine.py").write_text("import more_of_mine\n")
    Path("m.py").write_text("import helpers_of_mine\n" + RAISES)
    asked = spec(fixed=SMALL | {"model": "m.py"})
    before = ids(asked)
    Path("more_of_mine.py").touch()
    Path("not_imported.py").write_text("x = 1\n")
    assert ids(asked) == before
    Path("more_of_mine.py").write_text("x = 2\n")
    after = ids(asked)
    assert not set(after) & set(before)
    Path("m.py").write_text("import helpers_of_mine  # \n" + RAISES)
    assert not set(ids(asked)) & set(after)  # in the same process: nothing is remembered


def test_what_a_notebook_imports_and_the_files_it_is_given_are_part_of_the_name(
    tmp_path: Path,
) -> None:
    notebook(
        tmp_path / "n.ipynb", "import helpers", "table: str = 'a.csv'\nother: str = 'none.csv'"
    )
    for name in ("helpers.py", "a.csv", "b.csv"):
        (tmp_path / name).write_text("1\n")
    asked = {"run": "n.ipynb", "fixed": {"other": "b.csv"}}
    names = [ids(asked, tmp_path / "s.yaml")]
    for name in ("helpers.py", "a.csv", "b.csv"):
        (tmp_path / name).touch()
        assert ids(asked, tmp_path / "s.yaml") == names[-1]
        (tmp_path / name).write_text("2\n")
        names.append(ids(asked, tmp_path / "s.yaml"))
    assert len({name for (name,) in names}) == 4


def test_the_version_of_torch_is_part_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ids(spec())
    monkeypatch.setattr(targets, "version", lambda name: f"{name} 99")
    assert not set(ids(spec())) & set(before)


# ----------------------------------------------------------------------------------- data of one's own
def test_data_lie_beside_the_spec_and_count_by_what_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = KINDS["a table"]
    (tmp_path / "sub").mkdir()
    for place in ("sub/own", "sub/copy"):
        write_data_folder(
            tmp_path / place, kind.task, dict(zip("ab", kind.shards, strict=True)), kind.test
        )
    (tmp_path / "m.py").write_text(kind.model)
    file = tmp_path / "sub" / "s.yaml"
    asked = {"run": "simulate", "data": "own", "fixed": {"model": str(tmp_path / "m.py")}}
    (run,) = make_plan(asked, file=file).runs
    assert run.values["participants"] == 2
    assert run.values["data_dir"] == str(tmp_path / "sub" / "own")
    assert not set(OF_DIGITS) & set(run.values)
    assert ids(asked | {"data": "copy"}, file) == [run.id]
    monkeypatch.chdir(tmp_path / "sub")
    assert ids(asked) == [run.id]
    (tmp_path / "sub/own/test.pt").touch()
    assert ids(asked, file) == [run.id]
    write_dataset(tmp_path / "sub/own/test.pt", kind.test[0][:10], kind.test[1][:10])
    assert ids(asked, file) != [run.id]
    assert ids(asked | {"data": "copy"}, file) == [run.id]


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"data": "away"}, None, "is no folder"),
        ({"fixed": {"partition": "iid"}}, "partition", "dealt out already"),
        ({"grid": {"images": [10, 20]}}, "images", "leave it out, or leave out `data`"),
        ({"fixed": {"participants": 3}}, "participants", "are 3, and there is data of 2: a, b"),
        ({"fixed": {"target": 0.5, "model": "m.py"}}, "target", "the task of these data has none"),
        ({"fixed": {}}, "model", "name a model.py that is made for these data"),
        ({"fixed": {"data_dir": "own"}}, "fixed.data_dir", "no parameter of simulate"),
        ({"run": 4, "fixed": {}}, "data", "give the notebook a parameter"),
    ],
)
def test_what_makes_no_sense_with_own_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], field: str, said: str
) -> None:
    kind = KINDS["a regression"]
    monkeypatch.chdir(tmp_path)
    Path("m.py").write_text(kind.model)
    write_data_folder(Path("own"), kind.task, dict(zip("ab", kind.shards, strict=True)), kind.test)
    asked = {"run": "simulate", "data": "own", "fixed": {"model": "m.py"}} | changes
    with pytest.raises(FedkitError) as caught:
        make_plan(asked)
    assert (caught.value.field, said in str(caught.value)) == (field, True), caught.value
    assert make_plan(
        asked
        | {
            "run": "simulate",
            "fixed": {"model": "m.py", "participants": 2},
            "data": "own",
            "grid": None,
        }
    ).runs
