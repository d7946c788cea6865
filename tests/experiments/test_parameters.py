"""A notebook's parameters: read as the type that they declare, or refused before anything runs."""

from __future__ import annotations

import json

import nbformat
import pytest

from fedkit.base.errors import FedkitError
from fedkit.experiments.notebooks import run
from fedkit.experiments.parameters import fit
from tests.support.lessons import notebook
from tests.support.sweeps import notebook as small_notebook


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("round", "3", "did you mean rounds?"),
        ("xyz", "3", "it has rounds, rate, who, on"),
        ("rounds", "many", "no int"),
        ("rounds", "2.5", "no int"),
        ("rounds", True, "no int"),
        ("rate", "fast", "no float"),
        ("on", "1", "no bool"),
        ("who", 3, "no str"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_before_anything_runs(name, value, says, tmp_path):
    path = notebook(tmp_path, "01_x", "1")
    with pytest.raises(FedkitError) as caught:
        fit(path, {name: value})
    assert caught.value.field == name
    assert says in str(caught.value)
    (result,) = run([path], tmp_path / "out", parameters={name: value})
    assert (result.status, result.output) == ("refused", None)


def test_text_is_read_as_the_declared_type(tmp_path):
    path = notebook(tmp_path, "01_x")
    given = {"rounds": "7", "rate": "1", "who": "3", "on": "true"}
    assert fit(path, given) == {"rounds": 7, "rate": 1.0, "who": "3", "on": True}
    given = {"rounds": "007", "rate": "1e-3", "who": "12:30", "on": "False"}
    assert fit(path, given) == {"rounds": 7, "rate": 0.001, "who": "12:30", "on": False}


@pytest.mark.parametrize(
    ("declared", "value", "read"),
    [
        ("x = 0.5", "1", 1.0),
        ("x = 'a'", "007", "007"),
        ("x = None", "007", 7),
        ("x = None", "on", "on"),
        ("x = [1]", "[0.1, 1e-3]", [0.1, 0.001]),
        ("x = [1]", "[iid, shards]", ["iid", "shards"]),
        ("x: list[int] = []", "[1, null]", [1, None]),
        ("x: dict = {}", "{a: 1}", {"a": 1}),
        ("x: float | None = None", "2", 2.0),
        ("x: float | None = 0.5", "None", None),
        ("x: Optional[int] = 1", "2", 2),
        ("x: int | str = 1", "a: b", "a: b"),
        ('x: Literal["iid", "shards"] = "iid"', "shards", "shards"),
        ("x: typing.Literal[1, 2] | None = 1", "2", 2),
        ('x: Optional[Literal["a", "b"]] = None', "b", "b"),
        ('x: None | Literal["a"] = "a"', "None", None),
        ("x: typing.Union[int, None] = 1", "None", None),
        ("x: tuple[int, int] = (1, 2)", "[3, 4]", (3, 4)),
        ("x: 'float' = 1", "2", 2.0),
        ('x: Annotated[float, "of SGD"] = 1', "2", 2.0),
    ],
)
def test_the_default_says_the_type_where_none_is_declared(declared, value, read, tmp_path):
    small_notebook(tmp_path / "n.ipynb", "1", declared)
    found = fit(tmp_path / "n.ipynb", {"x": value})["x"]
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    "declared",
    [
        "x = 3",
        "x: list[int] = []",
        "x = {}",
        "x: float | None = None",
        "x: Optional[int] = None",
        'x: Literal["a", "b"] = "a"',
        'x: Optional[Literal["a", "b"]] = "a"',
        'x: typing.Literal["a"] | int = "a"',
        "x: typing.Optional[float] = None",
        "x: Union[int, None] = None",
        "x: List[int] = []",
        "x: tuple[int, int] = (1, 2)",
        'x: Annotated[int, "rounds"] = 1',
        "x: Final[int] = 1",
    ],
)
def test_another_type_than_the_default_s_is_refused(declared, tmp_path):
    small_notebook(tmp_path / "n.ipynb", "1", declared)
    with pytest.raises(FedkitError, match="'12:30' is no"):
        fit(tmp_path / "n.ipynb", {"x": "12:30"})


def test_a_choice_is_of_its_own_type(tmp_path):
    small_notebook(tmp_path / "n.ipynb", "1", "x: Literal[1, 2] = 1")
    with pytest.raises(FedkitError, match="True is no Literal"):
        fit(tmp_path / "n.ipynb", {"x": True})


def test_a_file_of_nothing_but_brackets_is_no_notebook(tmp_path):
    (tmp_path / "n.ipynb").write_bytes(b"[" * 100_000)
    with pytest.raises(FedkitError, match="is no notebook that can be read"):
        fit(tmp_path / "n.ipynb", {"x": 1})


@pytest.mark.parametrize("how", ["byte order mark", "nbformat 3"])
def test_a_notebook_of_ones_own_runs_however_it_was_saved(how, tmp_path):
    path = tmp_path / "own.ipynb"
    small_notebook(path, "import fedkit\nfedkit.record(x=x)", "x: float | None = None")
    if how == "byte order mark":
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    else:
        old = nbformat.convert(nbformat.read(path, as_version=4), 3)
        path.write_text(nbformat.writes(old, version=3), encoding="utf-8")
        assert json.loads(path.read_text("utf-8"))["nbformat"] == 3
    before = path.read_bytes()
    (result,) = run([path], tmp_path / "out", parameters={"x": "2"})
    assert (result.status, result.recorded) == ("done", {"x": 2.0}), result.error
    assert path.read_bytes() == before
