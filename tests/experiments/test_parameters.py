"""A notebook's parameters: read as the type that they declare, or refused before anything runs."""

from __future__ import annotations

import pytest

from fedkit.base.errors import FedkitError
from fedkit.experiments.notebooks import run
from fedkit.experiments.parameters import fit
from tests.support.lessons import notebook


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
