"""A notebook judged anew: what of it is the learner's is picked out, and a process of its own, bounded, judges that.

The judge's process has a scratch folder for a home, and a limit of time; when it is over, everything it started is ended
with it. What is not judged by then is said to be so.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from typing import Any

from fedkit.base.text import one_line
from fedkit.experiments.side_by_side import same_python
from fedkit.teaching.grade.cage import MAX_MEMORY
from fedkit.teaching.grade.exercises import Exercise, Lesson
from fedkit.teaching.grade.own_word import Word
from fedkit.teaching.grade.pile import Submission
from fedkit.teaching.grade.statements import Statement, calls_of, needed, statements

__all__ = ["brief", "end_all", "rerun"]


_under_way: set[subprocess.Popen[str]] = set()
LIMIT_S, PATIENCE_S = 600.0, 10.0
"""Seconds for one notebook, and for one call of a learner's function (or all definitions of one exercise)."""


def brief(
    submission: Submission, lesson: Lesson, patience_s: float = PATIENCE_S
) -> tuple[dict[str, Any], dict[str, Word]]:
    """What the judge is told, and the exercises of which there is nothing to judge.

    Of the learner's statements, those stay that the answers hang on; a statement that the course has too is the course's.
    """
    broken: dict[int, str] = {}
    mine: list[Statement] = []
    for cell in (cell for cell in submission.cells if cell.code):
        try:
            mine += statements(cell.number, cell.source)
        except SyntaxError as error:
            broken[cell.number] = (
                f"cell {cell.number} is no Python that can be read ({one_line(error.msg or error)})"
            )
    calls = {name: given for one in mine for name, given in calls_of(one.text)}
    own = [one for one in mine if one.plain not in lesson.given and not calls_of(one.text)]
    bound = {name for one in own for name in one.binds | one.touches}
    gone: dict[str, Word] = {}
    told: list[dict[str, Any]] = []
    for exercise in lesson.exercises:
        called = calls.get(exercise.name)
        if called is not None and tuple(called) == exercise.unwritten != exercise.texts:
            gone[exercise.name] = Word("not yet", "untouched")
            continue
        arguments = _arguments(exercise, called, bound)
        if arguments is None:
            lost = next(iter(broken.values()), "")
            there = any(cell.id == exercise.cell_id for cell in submission.cells)
            reason = lost or (
                "its cell is empty of an answer" if there else "its cell is not in the notebook"
            )
            gone[exercise.name] = Word("try again" if lost else "missing", reason)
            continue
        names = {
            n for text, theirs in arguments if theirs for s in statements(0, text) for n in s.needs
        }
        theirs_ = needed(own, names)
        if _untouched(exercise, theirs_, arguments):
            gone[exercise.name] = Word("not yet", "untouched")
            continue
        wants = names.union(*(one.needs | one.touches for one in theirs_))
        wants &= exercise.needs | lesson.cheap
        told.append(
            {
                "name": exercise.name,
                "arguments": arguments,
                "statements": [one.text for one in theirs_],
                "wants": sorted(wants - exercise.answers),
            }
        )
    # what the course itself gives to a check may hang on all that went before
    whole = [lesson.by_name[one["name"]] for one in told]
    computed = [e for e in whole if not all(argument.learners for argument in e.arguments)]
    course = {s for exercise in computed for s in lesson.until(exercise)}
    context = {
        s for e, one in zip(whole, told, strict=True) for s in lesson.context(e, one["wants"])
    }
    return {
        "lesson": lesson.name,
        "memory": MAX_MEMORY,
        "patience_s": patience_s,
        "course": [s.text for s in lesson.solved if s in course],
        "context": [s.text for s in lesson.solved if s in context],
        "exercises": told,
    }, gone


def rerun(
    submission: Submission,
    lesson: Lesson,
    *,
    limit_s: float = LIMIT_S,
    patience_s: float = PATIENCE_S,
) -> tuple[dict[str, Word], list[str]]:
    """Judge a notebook anew. Returns exercise -> verdict, and what could not be forbidden on this machine."""
    if not lesson.exercises:
        return {}, []
    told, words = brief(submission, lesson, patience_s)
    lines, ended = _judged(told, limit_s) if told["exercises"] else ([], "")
    left: list[str] = []
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            found = json.loads(line)
            left += found.get("left", [])
            if "name" in found:
                words[found["name"]] = Word(found["state"], one_line(found["reason"])[:600])
    for exercise in lesson.exercises:
        words.setdefault(
            exercise.name, Word("not judged", ended or "the judge ended before its turn")
        )
        if any(e["name"] == exercise.name and not e["arguments"] for e in told["exercises"]):
            words[exercise.name] = Word("not judged", "its check asks nothing of the learner")
    return {e.name: words[e.name] for e in lesson.exercises}, left


def _judged(told: dict[str, Any], limit_s: float) -> tuple[list[str], str]:
    with tempfile.TemporaryDirectory(prefix="fedkit-grade-", ignore_cleanup_errors=True) as home:
        places = (
            "HOME",
            "USERPROFILE",
            "TMPDIR",
            "TEMP",
            "TMP",
            "FEDKIT_WORKSPACE",
            "IPYTHONDIR",
            "MPLCONFIGDIR",
        )
        scratch = dict.fromkeys(places, home) | {
            "MPLBACKEND": "Agg",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        keep = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
        environment = (
            {name: os.environ[name] for name in keep if name in os.environ}
            | same_python()
            | scratch
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "fedkit.teaching.grade.judge"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
            cwd=home,
            start_new_session=True,
        )
        ended = ""
        _under_way.add(process)
        try:
            out, error = process.communicate(json.dumps(told), timeout=limit_s)
            if process.returncode:
                last = (error.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
                ended = f"the judge ended with {last}"
        except subprocess.TimeoutExpired:
            _end(process)
            out, _ = process.communicate()
            ended = f"stopped after {limit_s:g} s, the limit of one notebook"
        except BaseException:
            _end(process)
            process.communicate()
            raise
        finally:
            _under_way.discard(process)
        return out.splitlines(), ended


def end_all() -> None:
    """End every judge that is at work, when somebody stops the grading."""
    for process in tuple(_under_way):
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """End the judge and what it started: they are one session, and nothing in it can leave that."""
    with contextlib.suppress(OSError, AttributeError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _untouched(exercise: Exercise, own: list[Statement], arguments: list[tuple[str, bool]]) -> bool:
    """Is everything that the answers hang on as the learner's edition has it?"""
    given = tuple(text for text, _ in arguments)
    written = {s.plain for s in own if s.binds & exercise.answers}
    if not exercise.answers:
        return given == exercise.unwritten
    return given == exercise.texts and bool(written) and written <= exercise.stub


def _arguments(
    exercise: Exercise, called: list[str] | None, bound: set[str]
) -> list[tuple[str, bool]] | None:
    """The check's arguments, the learner's in the learner's own words; None where the learner gives nothing."""
    same = called is not None and len(called) == len(exercise.arguments)
    found = []
    for place, argument in enumerate(exercise.arguments):
        text = called[place] if same and argument.learners and called is not None else argument.text
        names = {name for s in statements(0, argument.text) for name in s.needs}
        if argument.learners and called is None and not (names and names <= bound):
            return None
        found.append((text, argument.learners))
    return found
