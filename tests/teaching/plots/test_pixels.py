"""Digits and weights as pixels: each above its label, with colours around zero."""

import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.teaching import plots
from tests.support.helpers import complaint


def test_each_digit_stands_above_its_label() -> None:
    images = torch.stack([torch.full((1, 28, 28), n / 10) for n in range(7)])
    fig = plots.digit_grid(images, torch.arange(7), columns=3)
    sheet = fig.axes[0].images[0].get_array()
    below = sorted(fig.axes[0].texts, key=lambda text: int(text.get_text()))
    assert [text.get_text() for text in below] == [str(n) for n in range(7)]
    for number, text in enumerate(below):
        x, y = (int(value) for value in text.get_position())
        assert sheet[y - 14][x] == pytest.approx(number / 10)
    assert len({text.get_position()[0] for text in below}) == 3


def test_bytes_and_shares_look_the_same() -> None:
    stored = torch.randint(256, (4, 28, 28), dtype=torch.uint8)
    one = plots.digit_grid(stored).axes[0].images[0].get_array()
    other = plots.digit_grid((stored / 255)[:, None]).axes[0].images[0].get_array()
    assert abs(one - other).max() < 1e-6


def test_a_missing_label_is_an_error() -> None:
    with pytest.raises(FedkitError) as caught:
        plots.digit_grid(torch.zeros(3, 1, 28, 28), torch.zeros(2))
    assert caught.value.field == "labels"


def test_weights_have_colours_around_zero() -> None:
    weights = torch.randn(5, 784, generator=torch.Generator().manual_seed(0)) + 1
    fig = plots.weight_images({"fc1.weight": weights}, units=4)
    picture = fig.axes[0].images[0]
    assert picture.get_clim()[0] == -picture.get_clim()[1]
    assert float(picture.get_cmap()(0.5)[1]) > 0.9, "no weight, no colour"
    assert (picture.get_array()[:28, :28] == weights[0].reshape(28, 28).numpy()).all()
    assert len(fig.axes) == 2, "a colour bar says what the colours mean"
    same = plots.weight_images({"fc1.weight": weights}, scale=0.25).axes[0].images[0]
    assert same.get_clim() == (-0.25, 0.25)


@pytest.mark.parametrize("layer", ["fc2.weight", "fc1.bias", "nothing"])
def test_a_layer_without_pixels_names_one_that_has_them(layer: str) -> None:
    shapes = {"fc1.weight": (3, 784), "fc1.bias": (3,), "fc2.weight": (10, 3)}
    with pytest.raises(FedkitError) as caught:
        plots.weight_images({name: torch.zeros(s) for name, s in shapes.items()}, layer)
    assert "fc1.weight" in caught.value.remedy


@pytest.mark.parametrize("shape", [(3, 8, 8), (30,), (3, 28, 28), (1, 28, 29)])
def test_what_are_no_digits_is_said_in_one_line(shape: tuple[int, ...]) -> None:
    images = torch.zeros(4, *shape)
    for draw in (
        lambda: plots.digit_grid(images),
        lambda: plots.digit_row({"a": images[0]}),
        lambda: plots.rebuilt_digits({"a": images}),
    ):
        error = complaint(draw)
        assert "no grey images of 28 x 28" in error.what
        assert error.remedy
