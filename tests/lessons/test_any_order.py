"""Whatever a learner presses and in whatever order the cells run: a result, or one line that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedkit.base.errors import FedkitError
from fedkit.teaching.control.control import Control
from tests.support.learner import Learner
from tests.support.mutations import EXAMPLES

WALKS = 200 if EXAMPLES > 1 else 1
SMALL = {"rounds": 3, "epoch": 1, "images_each": 20}


def one_line(error: FedkitError) -> str:
    text = str(error)
    assert " -> " in text, f"says not what to do: {text}"
    assert "\n" not in text
    return text


def last_by_hand(learner: Learner) -> int:
    """The last cell of lesson 05 that panels drive; those after it make a network each, and draw it."""
    (number,) = (
        n for n, source in enumerate(learner.cells) if source.startswith("everybody.faults")
    )
    return number


@pytest.mark.parametrize("seed", range(WALKS))
def test_lesson_05_survives_any_sequence_of_presses(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDKIT_WORKSPACE", str(tmp_path / "work"))
    learner = Learner("05_round_control.py", tmp_path, seed, **SMALL)
    last = last_by_hand(learner)
    try:
        walk(learner, last)
        if EXAMPLES > 1:  # and then Run All
            run_to(learner, last)
        assert learner.names["once"] == learner.names["again"]
        assert len(learner.names["two_rates"]) == 3
        assert learner.names["complete"].done
    finally:
        learner.close()


def run_to(learner: Learner, last: int) -> None:
    """From the first cell to this one, as a person does who starts again: no cell ends in an error."""
    for number in range(last + 1):
        said = learner.run(number)
        assert not isinstance(said, FedkitError), (learner.log, str(said))


def walk(learner: Learner, last: int) -> None:
    """On and on, with some presses after each cell; sometimes a cell that has run before, once more.

    As long as nobody goes back, no cell ends in an error at all. Then it may be one line (a network that was made anew has
    nobody's approval yet), and the cells above, run once more, put it right.
    """
    reached, back = 0, False
    while reached <= last:
        said = learner.run(reached)
        if isinstance(said, FedkitError):
            assert back, (learner.log, str(said))
            one_line(said)
            run_to(learner, reached)
            back = False
        reached += 1
        for _ in range(learner.dice.randrange(5)):
            learner.press()
        if learner.dice.random() < 0.1:
            back = True
            said = learner.run(learner.dice.randrange(reached))
            if isinstance(said, FedkitError):
                one_line(said)
        for name in ("by_hand", "everybody"):
            control = learner.names.get(name)
            if isinstance(control, Control):
                assert "stopped on" not in control.now.error, (learner.log, control.now.error)


LESSONS = ("00_start_here", "01_datasite", "02_configure", "03_train", "04_aggregate")
QUICK = {"rounds": 2, "epoch": 1, "per_digit": 20, "images_per_digit": 20}


@pytest.mark.parametrize("seed", range(10 if EXAMPLES > 1 else 1))
@pytest.mark.parametrize(
    "lesson",
    [
        name if name == "02_configure" else pytest.param(name, marks=pytest.mark.slow)
        for name in LESSONS
    ],
)
def test_cells_run_twice_and_out_of_order(
    lesson: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each cell gives its result, or one line after which Run All puts everything right; then it says the same again."""
    monkeypatch.setenv("FEDKIT_WORKSPACE", str(tmp_path / "work"))
    learner = Learner(f"{lesson}.py", tmp_path, seed, **QUICK)
    known = [name for name in QUICK if any(f"{name}: int" in cell for cell in learner.cells)]
    learner.parameters = {name: QUICK[name] for name in known}
    last = len(learner.cells) - 1
    for number in range(last + 1):
        assert not isinstance(learner.run(number), FedkitError), learner.log
        if learner.dice.random() < 0.4:
            said = learner.run(learner.dice.randrange(number + 1))
            if isinstance(said, FedkitError):
                one_line(said)
            for above in range(number + 1):
                assert not isinstance(learner.run(above), FedkitError), learner.log
    for number in learner.dice.sample(range(last + 1), last + 1):
        said = learner.run(number)
        if isinstance(said, FedkitError):
            one_line(said)
            run_to(learner, number)
    run_to(learner, last)


GOES_ON = {"02_configure": ["is there already, so this project was approved before -> let it run"]}
"""What a second run of a cell may end in: one line, and the lesson goes on."""


@pytest.mark.parametrize("lesson", [pytest.param(name, marks=pytest.mark.slow) for name in LESSONS])
def test_every_cell_runs_twice_in_a_row(
    lesson: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those do who press the wrong key: the same again, or one line, and the cells below run as ever."""
    monkeypatch.setenv("FEDKIT_WORKSPACE", str(tmp_path / "work"))
    learner = Learner(f"{lesson}.py", tmp_path, 0)
    learner.parameters = {
        name: value
        for name, value in QUICK.items()
        if any(f"{name}: int" in c for c in learner.cells)
    }
    refused = []
    for number in range(len(learner.cells)):
        assert not isinstance(learner.run(number), FedkitError), learner.log
        again = learner.run(number)
        if isinstance(again, FedkitError):
            refused.append(one_line(again))
    expected = GOES_ON.get(lesson, [])
    assert len(refused) == len(expected)
    assert all(text in line for text, line in zip(expected, refused, strict=True))


@pytest.mark.slow
def test_the_step_of_lesson_03_is_taken_again_from_the_same_spot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDKIT_WORKSPACE", str(tmp_path / "work"))
    learner = Learner("03_train.py", tmp_path, 0, rounds=1, epoch=1, per_digit=20)
    (step,) = (n for n, cell in enumerate(learner.cells) if "parameter -= learning_rate" in cell)
    said = [learner.run(number) for number in range(step + 1)]
    assert "nats, after it" in str(said[-1])
    assert learner.run(step) == said[-1]
