"""The panel in front of the class: thirty seats of which some need help; those stand first, with what and since when."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from fedkit.federation.seats import STUCK_S, Seat, by_need
from fedkit.teaching.practice_room import PracticeRoom
from fedkit.teaching.widgets import class_room
from fedkit.teaching.widgets.class_room import ClassRoom
from tests.support.helpers import shard
from tests.support.panels import words


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> PracticeRoom:
    """Lesson 05's own: thirty seats, in every state that a seat can be in before a round has begun."""
    made = PracticeRoom(tmp_path_factory.mktemp("room"), seats=30)
    made.sit(*range(1, 27))
    made.launch()
    made.approve(*range(1, 22))
    made.give_data(shard([0]), *range(1, 20))
    made.decline(22, "what happens to my images?")
    made.take_away(25)
    return made


def seat(number: int, state: str, since: float, problem: bool = False) -> Seat:
    whom = {"acts": f"{number}@x.org", "waits": "t@x.org", "done": ""}[state]
    return Seat(number, f"{number}@x.org", whom, "do it", since, problem)


def test_who_needs_help_stands_first() -> None:
    seats = [
        seat(1, "done", 900),
        seat(2, "waits", 999),
        seat(3, "acts", 10),
        seat(4, "acts", STUCK_S),
        seat(5, "acts", 2 * STUCK_S),
        seat(6, "acts", 1, problem=True),
        seat(7, "acts", 20),
    ]
    assert [s.number for s in by_need(seats)] == [6, 5, 4, 7, 3, 2, 1]
    teachers = replace(
        seat(8, "waits", 1), led=True
    )  # whom the class waits for stands before the class
    assert [s.number for s in by_need([*seats, teachers])] == [6, 5, 4, 7, 3, 8, 2, 1]
    states = ["needs help"] * 3 + ["must act"] * 2 + ["waits", "done"]
    assert [s.state for s in by_need(seats)] == states


def test_thirty_seats_who_is_stuck_since_when_and_on_what(room: PracticeRoom) -> None:
    panel = ClassRoom(room.teacher, room.name)
    assert "30 seats: 1 needs help, 9 must act, 20 wait" in words(panel.head.value)
    on = words(panel.what.value)
    assert on.startswith("To do at the seats: 4 × sit down; ")
    for said in ("3 × approve the request", "2 × put data into private/fl_client"):
        assert said in on
    room.later(minutes=4)
    panel.again.click()
    assert "30 seats: 10 need help, 20 wait" in words(panel.head.value)
    lines = panel.text().splitlines()[1:]
    assert lines[0].startswith("  25 seat-25@example.org: ✗ needs help, use its own invitation")
    assert all("for 4 min" in line for line in lines)
    assert "approve the request, for 4 min" in panel.text()
    assert "waits for seat-22@example.org" in words(panel.rows.value)
    waiting = [line for line in lines if " waits" in line]
    assert "seat-22@example.org" in waiting[0], "the teacher's own turn stands last"
    html = words(panel.html())
    for said in ("seat-25@example.org", "✗ needs help", "4 min", "sit down: `fedkit class join`"):
        assert said in html
        assert said in words(panel.rows.value)
    order = [html.index(f"seat-{n}@example.org") for n in (25, 23, 27, 22)]
    assert order == sorted(order)
    panel.close()


def test_it_looks_by_itself_while_it_is_open(room: PracticeRoom) -> None:
    async def watch() -> tuple[str, str, str]:
        panel = ClassRoom(room.teacher, room.name, every_s=0.05)
        first = panel.rows.value
        room.later(minutes=60)
        for _ in range(100):
            await asyncio.sleep(0.05)
            if panel.rows.value != first:
                break
        seen = panel.rows.value
        panel.close()
        room.later(minutes=60)
        await asyncio.sleep(0.2)
        return words(first), words(seen), words(panel.rows.value)

    first, seen, closed = asyncio.run(watch())
    assert "1 h" not in first
    assert "1 h" in seen
    assert closed == seen, "a panel that is closed still looks"


def test_a_large_class_has_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_room, "PAGE", 4)
    big = PracticeRoom(tmp_path, seats=6)
    panel = ClassRoom(big.teacher, big.name)
    assert words(panel.rows.value).count("@example.org") == 4
    panel.pager.buttons["Last"].click()
    assert words(panel.rows.value).count("@example.org") == 2
    left = "4 of 6 seats are shown here; 2 more: `fedkit class seats` lists them all."
    assert left in words(panel.html())
    assert panel.text().count("@example.org") == 6
    panel.close()
