"""Lesson 05: its checks know right from wrong, and what its prose says is so, for more than one seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import fedkit as fk
from fedkit.experiments.parameters import fit
from fedkit.rounds.history import History, RoundRecord
from fedkit.teaching.check.lesson_05 import quorum, refuse_nan
from fedkit.teaching.control.control import Control
from fedkit.teaching.failures.fates import fates
from fedkit.teaching.failures.faults import Fault
from tests.support.helpers import launched
from tests.support.run_lesson import SOURCES, Run, run_into
from tools.course.lesson import read_lesson

LESSON = "05_round_control.py"


@dataclass
class Rounds(Run):
    """The lesson run from top to bottom, and where its networks, its fates and its models are."""

    def network(self, name: str) -> fk.Network:
        """One of the lesson's networks, from its files."""
        return fk.Network.open(self["root"] / name)

    def done(self, name: str) -> Any:
        """The aggregator's folder of the finished project in one of the networks."""
        return self.network(name)[self["ana"]].aggregator().project("ROUNDS", "done")

    def words(self, name: str) -> list[str]:
        """Dan's fates in one of the networks, as its control remembers them."""
        control = self["controls"][name]
        found = fates(control.now.history, [self["dan"]], control.faults.log)
        return [fate.word for fate in found]

    def move(self, name: str, n: int = 2) -> float:
        """How far the global model moved in round n: an L2 norm."""
        place = self.done(name)
        before, after = (fk.flatten(fk.read_state(place.global_model(k))) for k in (n - 1, n))
        return float((after - before).norm())


def remember(done: Rounds) -> None:
    """The lesson uses one name for some controls, one after the other."""
    controls = done.names.setdefault("controls", {})
    made = [value for value in done.names.values() if isinstance(value, Control)]
    controls.update({control.network.root.name: control for control in made})


def run(folder: Path, edition: str = "solutions", **parameters: Any) -> Rounds:
    return run_into(Rounds(), LESSON, folder, edition, parameters, after=remember)


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    """The lesson with its own parameters, panels and all."""
    return run(tmp_path_factory.mktemp("lesson"))


# ------------------------------------------------------------------------------------- as a whole
def test_the_solutions_are_right(lesson: Rounds) -> None:
    assert lesson.checks == {"odd_request": "right", "quorum": "right", "refuse_nan": "right"}


@pytest.mark.slow
def test_editions_agree_run_after_run(lesson: Rounds, tmp_path: Path) -> None:
    """With every exercise open and pictures in place of panels: the same lines as with all of them done."""
    learner = run(tmp_path, "learner", interactive=False)
    assert set(learner.checks.values()) == {"not yet"}
    assert set(learner.checks) == set(lesson.checks) == {"odd_request", "quorum", "refuse_nan"}
    assert learner.text == lesson.text


def test_no_thread_is_left_when_the_cells_have_run(lesson: Rounds) -> None:
    assert all(not control.now.busy for control in lesson["controls"].values())
    assert {control.now.error for control in lesson["controls"].values()} == {""}


def test_a_batch_run_has_pictures_and_an_answer_of_its_own_wins(tmp_path: Path) -> None:
    cell = {
        "cell_type": "code",
        "metadata": {"tags": ["parameters"]},
        "source": ["interactive: bool = True  # panels\n", "rounds: int = 4  # rounds"],
        "outputs": [],
    }
    path = tmp_path / "a.ipynb"
    fk.write_json(path, {"cells": [cell], "metadata": {}})
    assert fit(path, {}) == {"interactive": False}
    assert fit(path, {"interactive": "true", "rounds": 2}) == {"interactive": True, "rounds": 2}
    cell["source"] = ["rounds: int = 4  # rounds"]
    fk.write_json(path, {"cells": [cell], "metadata": {}})
    assert fit(path, {}) == {}


# ----------------------------------------------------------------------------------- driving by hand
def test_going_back_and_on_gives_the_same_digits(lesson: Rounds) -> None:
    assert lesson["once"] == lesson["again"]
    assert lesson["once"][1] > lesson["once"][0]


def test_a_smaller_learning_rate_shows_and_is_marked(lesson: Rounds) -> None:
    assert lesson["slower"][0] == lesson["once"][0]
    assert lesson["slower"][1] < lesson["once"][1] - 0.03
    history = lesson["controls"]["by_hand"].now.history
    assert [record.learning_rate for record in history] == [0.1, 0.01, 0.1]


def test_other_settings_are_refused_at_both_ends(lesson: Rounds) -> None:
    assert "epoch may not change in this project" in lesson.text
    network = lesson.network("by_hand")
    mailbox = network[lesson["alice"]].client().project("ROUNDS")
    place = network[lesson["ana"]].aggregator().project("ROUNDS")
    fk.write_json(mailbox.round_settings(4), {"epoch": 50})
    mailbox.global_model(3).write_bytes(place.global_model(3).read_bytes())
    said = "\n".join(fk.render(event) for event in fk.advance(network[lesson["alice"]]))
    assert "PROBLEM" in said
    assert "adjustable" in said
    assert not mailbox.trained(4).exists()


def test_the_tree_shows_what_a_round_leaves_at_alices(lesson: Rounds) -> None:
    assert lesson["tree"].model.machine == lesson["alice"]
    box = lesson.network("by_hand")[lesson["alice"]].client().project("ROUNDS")
    assert box.trained(1).is_file()


# ------------------------------------------------------------------------- absent, slow and killed
def test_without_a_quorum_it_waits_for_dan_and_loses_nothing(lesson: Rounds) -> None:
    assert len(lesson["waiting"]) == 1
    assert f"waits for {lesson['dan']} to send its update of round 2" in lesson.text
    assert lesson["complete"].done
    assert all(len(record.contributions) == 4 for record in lesson["complete"])


def test_a_quorum_goes_on_without_dan_at_little_cost(lesson: Rounds) -> None:
    assert lesson.words("quorum") == ["averaged", "absent", "absent", "absent"]
    assert lesson["without_dan"].done
    cost = lesson["complete"].accuracies[-1] - lesson["without_dan"].accuracies[-1]
    assert abs(cost) < 0.035


def test_who_is_late_for_one_round_is_back_in_the_next(lesson: Rounds) -> None:
    assert lesson.words("slow") == ["averaged", "absent", "averaged", "averaged"]
    record = fk.read_json(lesson.done("slow").record(2))
    assert record["absent"] == [lesson["dan"]]


def test_a_killed_participant_comes_to_the_same_bits(lesson: Rounds) -> None:
    assert lesson.words("killed") == ["averaged", "resumed", "averaged", "averaged"]
    assert lesson["fingerprint"]("killed") == lesson["fingerprint"]("everybody")
    log = lesson.network("killed")[lesson["dan"]].client().project("ROUNDS", "done").training_log(2)
    assert log.read_text("utf-8").count("Epoch ") == lesson["epoch"], "quiz 2"


def test_nobody_waits_for_a_latecomer_whose_round_is_over(tmp_path: Path) -> None:
    network = launched(tmp_path, min_participants=1, round_timeout_s=0.05, rounds=3)
    control = Control.of(network, fk.approve_all)
    control.faults.set(network.participants[0], Fault("slow", from_round=1, seconds=3600))
    control.run_round()
    done = control.wait(60)
    assert not done.busy, "the round is over, and its time-out was a twentieth of a second"
    assert done.history.rounds[0].absent == (network.participants[0],)
    control.close()


# ---------------------------------------------------------------------------------- wrong updates
def test_refused_is_as_good_as_absent_to_the_last_bit(lesson: Rounds) -> None:
    assert lesson.words("nan") == ["averaged", "refused", "refused", "refused"]
    assert lesson["refused"].rounds[1].refused == {lesson["dan"]: "fc1.weight holds NaN"}
    assert lesson["fingerprint"]("nan") == lesson["fingerprint"]("quorum")
    assert "mean of 1, 2, 3 and NaN: nan" in lesson.text
    assert f"{lesson['dan']:<18} fc1.weight holds NaN" in lesson.text


def test_a_flipped_sign_is_averaged_and_costs_more_than_an_absence(lesson: Rounds) -> None:
    assert lesson.words("hostile") == ["averaged", "unnoticed", "unnoticed", "unnoticed"]
    end = lesson["hostile"].accuracies[-1]
    assert end < lesson["without_dan"].accuracies[-1] - 0.02
    assert end < lesson["complete"].accuracies[-1] - 0.02
    assert end > 0.5, "it is not destroyed"
    assert 0.3 < lesson.move("hostile") / lesson.move("everybody") < 0.7, "about half as far"


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_the_text_says_of_numbers_holds_for_other_seeds(quiz: Rounds, seed: int) -> None:
    draw = fk.generator(seed, "lesson 05")
    mnist = fk.load_mnist()
    shards = fk.iid(mnist.train_images, mnist.train_labels, 4, 300, generator=draw)

    def accuracies(name: str, kind: str = "", **settings: Any) -> list[float]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(quiz.names, "shards", shards)
            control = quiz["start"](f"{name} {seed}", seed=seed, **settings)
        if kind:
            control.faults.set(quiz["dan"], Fault(kind, from_round=2))
        return end(control).accuracies

    complete = accuracies("everybody")
    without_dan = accuracies("quorum", "absent", min_participants=3)
    hostile = accuracies("hostile", "sign-flipped")
    assert abs(complete[-1] - without_dan[-1]) < 0.035
    assert 0.5 < hostile[-1] < min(complete[-1], without_dan[-1]) - 0.02
    ratio = quiz.move(f"hostile {seed}") / quiz.move(f"everybody {seed}")
    assert 0.3 < ratio < 0.7, "about half as far"


def test_ana_sees_nothing_of_it(lesson: Rounds) -> None:
    history: History = lesson["hostile"]
    assert not any(record.refused or record.absent for record in history)
    norms = {p.participant: p.norm for p in history.rounds[-1].contributions}
    others = [norm for email, norm in norms.items() if email != lesson["dan"]]
    assert 0.7 * min(others) < norms[lesson["dan"]] < 1.5 * max(others)
    ledger = lesson.network("hostile").ledger()

    def sent(email: str) -> list[tuple[str, int]]:
        entries = [e for e in ledger if e.sender == email and e.path.endswith(".pt")]
        return [(entry.path.rpartition("/")[2], entry.size) for entry in entries]

    assert sent(lesson["dan"]) == sent(lesson["alice"])
    assert len(sent(lesson["dan"])) == lesson["rounds"]


# ------------------------------------------------------------------------------------------- quiz
@pytest.fixture(scope="module")
def quiz(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    """The lesson's functions, with nothing run; its networks stay in a folder of their own."""
    names = Rounds()
    stop = "by_hand"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDKIT_WORKSPACE", str(tmp_path_factory.mktemp("quiz")))
        for cell in read_lesson(SOURCES / LESSON).of_kind("code"):
            if stop in cell.source:
                break
            exec(compile(cell.source, "quiz", "exec"), names.names)
        yield names


def end(control: Control) -> History:
    control.run_all()
    return control.wait(120).history


def test_a_quorum_of_two_averages_all_four_who_are_well(quiz: Rounds) -> None:
    history = end(quiz["start"]("two", min_participants=2, rounds=2))
    assert [len(record.contributions) for record in history] == [4, 4]


def test_alice_trains_what_she_approved_whatever_anas_config_says(quiz: Rounds) -> None:
    control = quiz["start"]("config", rounds=1)
    network = control.network
    control.refresh()
    for email in quiz["people"]:
        fk.approve(network[email], "ROUNDS")
    config = network[quiz["ana"]].aggregator().project("ROUNDS").config
    fk.FLConfig.load(config).replace(epoch=50).save(config)
    end(control)
    box = network[quiz["alice"]].client()
    (log,) = box.path.rglob("training_logs_round_1.txt")
    assert log.read_text("utf-8").count("Epoch ") == quiz["epoch"]


def test_two_flipped_signs_stand_still_and_a_scaled_change_wrecks(quiz: Rounds) -> None:
    def accuracies(name: str, kinds: dict[str, str]) -> list[float]:
        control = quiz["start"](name)
        for email, kind in kinds.items():
            control.faults.set(email, Fault(kind, from_round=2))
        return end(control).accuracies

    one = accuracies("one", {quiz["dan"]: "sign-flipped"})
    accuracies("both", {quiz["dan"]: "sign-flipped", quiz["alice"]: "sign-flipped"})
    scaled = accuracies("scaled", {quiz["dan"]: "scaled"})
    assert quiz.move("both") < 0.5 * quiz.move("one"), "two and two, against three and one"
    assert scaled[-1] < one[-1] - 0.1


# ----------------------------------------------------------------------------------------- checks
def ended(accuracy: float) -> History:
    return History("P", (RoundRecord(1, accuracy=accuracy, loss=1.0),), 1)


@pytest.mark.parametrize(
    ("answer", "prediction", "state", "says"),
    [
        (3, 0.84, "right", "Three of four"),
        (3, 0.80, "right", "80.0%"),
        (3.0, torch.tensor(0.85), "right", "Three of four"),
        (4, 0.84, "try again", "waits for Dan"),
        (2, 0.84, "try again", "one more"),
        (1, 0.84, "try again", "one more"),
        (3, 84, "try again", "between 0 and 1"),
        (3, 0.63, "try again", "higher"),
        (3, 0.95, "try again", "lower"),
        ("three", 0.84, "try again", "one number"),
        (..., 0.84, "not yet", "content"),
        (3, ..., "not yet", "content"),
    ],
)
def test_quorum_knows_the_usual_mistakes(
    answer: Any, prediction: Any, state: str, says: str
) -> None:
    result = quorum(answer, prediction, ended(0.84))
    assert result.state == state
    assert says in result.message


def right(state: dict[str, torch.Tensor]) -> str | None:
    for name, tensor in state.items():
        if torch.isnan(tensor).any():
            return f"{name} holds NaN"
    return None


def compares_with_nan(state: dict[str, torch.Tensor]) -> str | None:
    return "NaN" if any((tensor == float("nan")).any() for tensor in state.values()) else None


def returns_too_early(state: dict[str, torch.Tensor]) -> str | None:
    for name, tensor in state.items():
        return f"{name} holds NaN" if torch.isnan(tensor).any() else None
    return None


def wants_all(state: dict[str, torch.Tensor]) -> str | None:
    return "NaN" if any(torch.isnan(tensor).all() for tensor in state.values()) else None


def is_open(state: dict[str, torch.Tensor]) -> Any: ...


ARRIVED = {
    "alice": {"w": torch.tensor([1.0, 2.0])},
    "bob": {"w": torch.tensor([3.0, 4.0])},
    "dan": {"w": torch.tensor([float("nan"), 1.0])},
}


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (right, "right", "refuses dan"),
        (fk.check_state.__get__(ARRIVED["alice"]), "try again", ""),
        (compares_with_nan, "try again", "not noticed"),
        (returns_too_early, "try again", "last of two"),
        (wants_all, "try again", "One NaN"),
        (lambda state: None, "try again", "not noticed"),
        (lambda state: "no", "try again", "without any NaN"),
        (lambda state: right(state) is not None, "try again", "text or None"),
        (lambda state: "" if right(state) else None, "try again", "empty text"),
        (
            lambda state: right(state) or ("big" if state["a"].max() > 9 else None),
            "try again",
            "sound",
        ),
        (lambda state: torch.isnan(state), "try again", "TypeError"),
        (is_open, "not yet", "isnan"),
    ],
)
def test_refuse_nan_knows_the_usual_mistakes(
    answer: Callable[..., Any], state: str, says: str
) -> None:
    result = refuse_nan(answer, ARRIVED, {"w": torch.tensor([2.0, 3.0])})
    assert result.state == state
    assert says in result.message


def test_refuse_nan_uses_the_answer_on_what_arrived() -> None:
    def refuses_bob_too(state: dict[str, torch.Tensor]) -> str | None:
        return right(state) or ("no" if "w" in state and state["w"][0] == 3 else None)

    result = refuse_nan(refuses_bob_too, ARRIVED, {"w": torch.tensor([2.0, 3.0])})
    assert result.state == "try again"
    assert "bob" in result.message

    def spoils(state: dict[str, torch.Tensor]) -> str | None:
        answer = right(state)
        for tensor in state.values():
            tensor.zero_()
        return answer

    assert refuse_nan(spoils, ARRIVED, {"w": torch.tensor([2.0, 3.0])}).state == "right"
    assert ARRIVED["alice"]["w"].tolist() == [1, 2]


# ------------------------------------------------------------------------------- the learner's number
@pytest.mark.slow
@pytest.mark.parametrize(("number", "rounds", "state"), [(4, 1, "try again"), (2, 3, "try again")])
def test_the_project_runs_with_the_learners_quorum(
    number: int, rounds: int, state: str, tmp_path: Path
) -> None:
    """A quorum of 4 waits for Dan for ever; whatever the number, the cells after it have a project that has ended."""
    cells = read_lesson(SOURCES / LESSON).of_kind("code")
    (check,) = [cell.number for cell in cells if "fk.check.quorum(" in cell.source]
    small = {"rounds": 3, "epoch": 1, "images_each": 20, "interactive": False}
    done = run_into(
        Rounds(), LESSON, tmp_path, parameters=small, wanted=lambda cell: cell.number < check
    )
    done.names |= {"quorum": number, "prediction": 0.5}
    run_into(done, LESSON, tmp_path, wanted=lambda cell: cell.number == check)
    assert (len(done["without_dan"]), done.checks) == (rounds, {"quorum": state})
    after = min(cell.number for cell in cells if cell.number > check)
    run_into(done, LESSON, tmp_path, wanted=lambda cell: cell.number == after)
    assert done["without_dan"].done
