"""What stands out in a request: the desk and `fedkit approve` tell the same, in the same words, whatever it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fedkit.base.text import visible
from fedkit.cli.approve import _show
from fedkit.cli.output import console
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.road import write_road
from fedkit.protocol import advance as node
from fedkit.protocol.approval import Review, review
from fedkit.protocol.code_review import DISCLAIMER
from fedkit.protocol.findings import find, in_words
from fedkit.teaching.odd_request import ODD_MODEL
from fedkit.teaching.widgets.approval_desk import ApprovalDesk, hints_html
from tests.protocol.test_code_review import ABOVE, BODY, INSIDE
from tests.support.helpers import ALICE, LINEAR, PROJECT, put_launch, small, solo
from tests.support.panels import words

SOURCES = {
    **{line: BODY.format(above=line, inside="return x") for line, _ in ABOVE},
    **{line: BODY.format(above="", inside=line) for line, _ in INSIDE},
    "signs that nobody sees": LINEAR + "# \u202e gnihton\nz\u200bero = 0\n",
    "far to the right": LINEAR + "x = 1" + " " * 300 + ";y = 2\n",
    "no Python": "def f(:",
    "another class": LINEAR.replace("FLModel", "Net"),
    "markup": LINEAR + "import os.__b__  # <b>[red]\n",
    "kept in a buffer": ODD_MODEL,
    "nothing": LINEAR,
}
"""A source for each kind of finding that `review_code` has, by a name."""


def asked_on(root: Path, road: str = "own", **changes: object) -> tuple[Datasite, Review]:
    """A datasite with a pending request of itself, and what a person reviews there."""
    if road == "own":
        site = solo(root)
        put_launch(site, small(aggregator=ALICE, participants=[ALICE]).replace(**changes))
    else:
        write_road(root, road)
        site = Datasite.create(root, ALICE)
        put_launch(site, small(aggregator=ALICE, participants=[ALICE]))
    node.advance(site)
    return site, review(site, PROJECT)


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> tuple[Datasite, Review]:
    return asked_on(tmp_path_factory.mktemp("asked"))


def in_the_terminal(site: Datasite, shown: Review) -> str:
    with console.capture() as got:
        _show(site, shown)
    return " ".join(got.get().split())


def letters(text: str) -> str:
    return re.sub(r"\W+", "", text)


def both_say(site: Datasite, shown: Review) -> list[str]:
    """The findings, after both have shown every one of them."""
    head, lines = in_words(find(site, shown))
    desk, terminal = words(hints_html(site, shown)), in_the_terminal(site, shown)
    for line in lines:
        said = " ".join(visible(line).split())
        assert said in desk
        assert said in terminal
    for said in (desk, terminal):
        assert letters(head) in letters(said)
    assert len(re.findall("<li>", hints_html(site, shown))) == len(lines)
    return lines


@pytest.mark.parametrize("name", SOURCES)
def test_the_desk_and_the_command_say_the_same(
    request_: tuple[Datasite, Review], name: str
) -> None:
    site, shown = request_
    other = Review(
        shown.participant, shown.config, shown.config_bytes, SOURCES[name].encode(), shown.hashes
    )
    assert bool(both_say(site, other)) == (name != "nothing")


def test_a_key_that_nobody_knows_is_a_finding(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="does not know the key"):
        site, shown = asked_on(tmp_path, spy="yes")
    assert both_say(site, shown) == [
        "fl_config.json asks for spy, a key that fedkit does not know: ask what it is for"
    ]


def test_updates_that_lie_open_are_a_finding(tmp_path: Path) -> None:
    site, shown = asked_on(tmp_path, road="synced")
    (line,) = both_say(site, shown)
    assert line.startswith("Not under masks: everybody can read each update")


def test_every_face_of_the_desk_has_them(tmp_path: Path) -> None:
    site, _ = asked_on(tmp_path)
    (site.client().project(PROJECT, "request").path / "model.py").write_text(ODD_MODEL)
    found = in_words(find(site, review(site, PROJECT)))[1]
    assert len(found) == 3
    live, static = ApprovalDesk(site), ApprovalDesk(site, interactive=False)
    for line in found:
        assert line in words(live.hints.value)
        assert line in words(static.html())
        assert line in static.text()
    assert DISCLAIMER in static.text()
    live.close()
