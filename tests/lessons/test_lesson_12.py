"""Lesson 12: its checks know right from wrong, and what its prose says is so, for more than one seed."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import fedkit as fk
from fedkit.federation.roads import could_open as packages_own
from fedkit.teaching.check.lesson_12 import could_open, what_is_signed
from tests.support.helpers import ALICE, BOB, CAROL
from tests.support.run_lesson import Run, run_into, seeds

LESSON = "12_beyond_the_laptop.py"
EXERCISES = ["could_open", "what_is_signed"]


def lesson_of(folder: Path, edition: str = "solutions", **parameters: Any) -> Run:
    """A lesson's run, without pictures being encoded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fk, "show", lambda figure, alt: None)
        return run_into(Run(), LESSON, folder, edition, parameters)


def without_times(text: str) -> str:
    return re.sub(r"in \d+\.\d s", "in some s", text)


@pytest.fixture(scope="module", params=seeds(0))
def lesson(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The solved edition with its own parameters; in `make test-all` with ten seeds."""
    return lesson_of(tmp_path_factory.mktemp("lesson"), seed=request.param)


def test_the_solutions_are_right(lesson: Run) -> None:
    assert lesson.checks == dict.fromkeys(EXERCISES, "right")


@pytest.mark.slow
def test_the_learners_edition_says_the_same(tmp_path: Path) -> None:
    for edition in ("learner", "solutions"):
        (tmp_path / edition).mkdir()
    learner, solved = (lesson_of(tmp_path / e, e) for e in ("learner", "solutions"))
    assert learner.checks == dict.fromkeys(EXERCISES, "not yet")
    assert without_times(learner.text) == without_times(solved.text)


def test_the_learners_exercises_are_open(tmp_path: Path) -> None:
    done = Run({"fk": fk, "json": json, "hashlib": __import__("hashlib")})
    run_into(done, LESSON, tmp_path, "learner", wanted=lambda cell: "exercise" in cell.tags)
    assert done.checks == dict.fromkeys(EXERCISES, "not yet")


def test_the_same_bits_and_more_bytes_over_a_synced_folder(lesson: Run) -> None:
    assert "hash by hash the same: True" in lesson.text
    assert len(lesson["hashes"](lesson["own"])) == 4
    sent = re.findall(r"(\d+\.\d) MB crossed, (\d+\.\d) MB of it to Mallory", lesson.text)
    (at_home, to_her), (in_folder, all_of_it) = [tuple(map(float, pair)) for pair in sent]
    assert to_her < 0.1
    assert in_folder > 4 * at_home
    assert all_of_it > 5
    weights = fk.read_state(
        lesson["own"]["ana@example.org"].aggregator().project("ROADS", "done").global_model(3)
    )
    assert sum(value.numel() for value in weights.values()) == 101_770


def test_what_was_recorded_is_this_lessons_project(lesson: Run) -> None:
    runs = lesson["runs"]
    assert "DIFFERENT" not in lesson.text
    assert [road for road in runs if f"\n{road} " in f"\n{lesson.text}"] == list(runs)
    if lesson["seed"] == 0:
        assert "the recorded project is yours: True" in lesson.text
        assert lesson["mine"]
        if lesson["where"].same_bits(lesson["here"]):
            assert "the recorded models are yours: True" in lesson.text
            assert "Flower's models (recorded) and yours: False" not in lesson.text
    told = "Flower's and those of that machine's own network: True" in lesson.text
    assert told == (lesson["death"] is not None)


def test_who_could_read_what(lesson: Run) -> None:
    assert lesson["of"] == {"global model": 4, "images": 3, "update": 9}
    everything = {"global model": 4, "update": 9}
    seen = lesson["seen"]
    assert seen["own sync: the aggregator"] == seen["synced folder: Mallory"] == everything
    assert seen["own sync: Mallory"] == {}
    assert seen.get("syftbox: its server (recorded)", everything) == everything
    all_but_the_last_model = {"global model": 3, "update": 9}
    flower = seen.get("flower: its SuperLink (recorded)", all_but_the_last_model)
    assert flower == all_but_the_last_model
    assert not [who for who, found in seen.items() if "images" in found]
    assert {len(piece) for thing, piece in lesson["traces"].items() if thing.kind != "images"} == {
        64
    }
    assert fk.roads.count_kinds(lesson["found"]) == {"global model": 4, "masked update": 9}


def test_a_forged_update_counts_where_nobody_signs_and_is_refused_by_name_elsewhere(
    lesson: Run,
) -> None:
    fooled, history = lesson["fooled"].history("ROADS").rounds, lesson["history"].rounds
    assert "refused: nothing" in lesson.text
    assert history[0].accuracy - fooled[0].accuracy > 0.1
    assert history[-1].accuracy - fooled[-1].accuracy > 0.05
    assert all(not record.refused for record in fooled)
    assert f"forged: {BOB}: is not the file that {BOB} has signed" in lesson.text
    said = re.search(r"replayed: (.+)", lesson.text)
    assert said is not None
    assert f"{BOB}: was signed by {BOB} for" in said[1]
    assert lesson.text.count("the same models as without Mallory: True") == 2
    assert "other weights pass: False" in lesson.text
    assert lesson.text.count("of round 1 as that of") == lesson.text.count(": True\nBob's") + 1


def test_the_rounds_of_those_who_are_left(lesson: Run) -> None:
    assert lesson["at_home"] == dict(lesson["absent"]) == {2: (CAROL,), 3: (CAROL,)}
    assert lesson["death"] is None or lesson["death"].who == CAROL
    lost = lesson["history"].rounds[-1].accuracy - lesson["history_without"].rounds[-1].accuracy
    assert lost > 0.05


def test_quiz(lesson: Run) -> None:
    bobs = {n: packages_own(lesson[n][BOB].data_dir, lesson["traces"]) for n in ("own", "synced")}
    counts = {name: fk.roads.count_kinds(found) for name, found in bobs.items()}
    assert (counts["own"]["update"], counts["synced"]["update"]) == (3, 9)
    assert {thing.who for thing in bobs["own"] if thing.kind == "update"} == {BOB}
    line = lesson["line"]
    assert (line["from"], line["to"], line["round"]) == (BOB, "ana@example.org", 1)
    assert line["sha256"] == sha256(lesson["update"]).hexdigest()
    assert ALICE in lesson["people"]


# ------------------------------------------------------------------------------------- its checks
def names_only(folder: Path, traces: Any) -> Any:
    return {t for path in folder.rglob("*") for t, piece in traces.items() if t in path.name}


def top_only(folder: Path, traces: Any) -> Any:
    files = [path for path in folder.iterdir() if path.is_file()]
    return {t for path in files for t, piece in traces.items() if piece in path.read_bytes()}


def last_file(folder: Path, traces: Any) -> Any:
    found = set()
    for path in sorted(folder.rglob("*"), reverse=False):
        if path.is_file() and path.read_bytes():
            now = {t for t, piece in traces.items() if piece in path.read_bytes()}
            found = now or found
    return found


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (packages_own, "right", "No name"),
        (lambda folder, traces: sorted(packages_own(folder, traces)), "right", "No name"),
        (names_only, "try again", "finds none"),
        (lambda folder, traces: set(), "try again", "finds none"),
        (lambda folder, traces: set(traces), "try again", "in no file"),
        (top_only, "try again", "further down"),
        (last_file, "try again", "forgets"),
        (lambda folder, traces: {traces[t] for t in packages_own(folder, traces)}, "try again", "the things"),
        (lambda folder, traces: 2, "try again", "a set"),
        (lambda folder, traces: ..., "not yet", "in `content`"),
    ],
)  # fmt: skip
def test_could_open_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = could_open(answer)
    assert result.state == state, result.message
    assert says in result.message


def as_json(*values: Any) -> bytes:
    *about, content = values
    return json.dumps([*about, sha256(content).hexdigest()]).encode()


def joined(seam: str) -> Any:
    def answer(project: str, n: int, sender: str, receiver: str, content: bytes) -> bytes:
        parts = [project, str(n), sender, receiver, sha256(content).hexdigest()]
        return seam.join(parts).encode()

    return answer


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (as_json, "right", "fails there"),
        (lambda *values: repr(values).encode(), "right", "fails there"),
        (lambda p, n, s, r, c: json.dumps([p, n, s, r]).encode() + b"\n" + c, "right", ""),
        (lambda p, n, s, r, c: as_json(p, n, s, r, c).decode(), "try again", "text"),
        (lambda p, n, s, r, c: c, "try again", "another project"),
        (lambda p, n, s, r, c: as_json(p, c), "try again", "round 1 could be handed in"),
        (lambda p, n, s, r, c: as_json(p, n, r, c), "try again", "who sends"),
        (lambda p, n, s, r, c: as_json(p, n, s, c), "try again", "handed in to Eve"),
        (lambda p, n, s, r, c: as_json(p, n, s, r, b""), "try again", "Other weights"),
        (lambda p, n, s, r, c: as_json(p, n, s, r, c[:7]), "try again", "Longer weights"),
        (joined(""), "try again", '"P" in round 11'),
        *((joined(seam), "try again", "can't be read back") for seam in (" ", ",", "\n", "|", "\0")),
        (lambda *values: as_json(*values) + __import__("os").urandom(2), "try again", "each time"),
        (lambda *values: 7, "try again", "should be bytes"),
        (lambda *values: ..., "not yet", "read back"),
    ],
)  # fmt: skip
def test_what_is_signed_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = what_is_signed(answer)
    assert result.state == state, result.message
    assert says in result.message
