"""What all pictures share: colours that text can be read on, names as they are, sizes in words."""

import pytest
from matplotlib.colors import to_rgb

from fedkit.teaching import plots
from fedkit.teaching.plots import style
from tests.support.pictures import words


def test_text_can_be_read_on_every_colour() -> None:
    def luminance(colour: str) -> float:
        linear = [
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in style.COLOURS:
        light, dark = sorted([luminance(colour), luminance(style.readable_on(colour))])[::-1]
        assert (light + 0.05) / (dark + 0.05) >= 4.5, colour  # WCAG 2.1, level AA


def test_names_are_taken_literally() -> None:
    fig = plots.loss_curves({"a$b@example.org": [2, 1], "c_{d}$@example.org": [2, 1]})
    assert {r"a\$b", r"c_{d}\$"} <= set(words(fig))


def test_names_that_share_a_head_stay_whole() -> None:
    fig = plots.loss_curves({"al@a.org": [2, 1], "al@b.org": [2, 1], "bo@b.org": [2, 1]})
    assert {"al@a.org", "al@b.org", "bo"} <= set(words(fig))


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_234, "1.2 kB"),
        (9_949, "9.9 kB"),
        (409_245, "409 kB"),
        (999_400, "999 kB"),
        (999_600, "1.0 MB"),
        (2_046_225, "2.0 MB"),
    ],
)
def test_sizes_in_words(size: int, said: str) -> None:
    assert style.size_text(size) == said
