"""What a cell calls: a figure carries its alt text, a record is JSON."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from fedkit.base.errors import FedkitError
from fedkit.teaching.notebook import figure_html, record, show


def test_a_figure_carries_its_alt_text_and_equal_figures_give_equal_bytes(capsys):
    def draw() -> Figure:
        figure = Figure(figsize=(3, 2))
        figure.subplots().plot([0, 1], [0, 1])
        return figure

    html = figure_html(draw(), '  a "line" <rises> ')
    assert html.startswith('<img alt="a &quot;line&quot; &lt;rises&gt;" width="')
    assert "data:image/png;base64," in html
    assert html == figure_html(draw(), 'a "line" <rises>')
    show(draw(), "a line")  # outside a notebook: nothing to see, nothing printed
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("fig", "alt"),
    [(Figure(), ""), (Figure(), " \n"), (Figure(), "a\nb"), (Figure(), None), ("x", "y")],
)
def test_a_figure_needs_an_alt_text(fig, alt):
    with pytest.raises(FedkitError) as caught:
        show(fig, alt)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), None, {"a": 1}, object(), b"x", [1, {2}], [float("nan")]]
)
def test_what_json_cannot_carry_is_not_recorded(value):
    with pytest.raises(FedkitError) as caught:
        record(good=1, bad=value)
    assert caught.value.field == "bad"
    with pytest.raises(FedkitError):
        record()


def test_a_numpy_number_is_refused_with_a_remedy():
    numpy = pytest.importorskip("numpy")
    with pytest.raises(FedkitError, match="float"):
        record(x=numpy.float64(1))
