"""Some 400 answers to the exercises of all lessons, and the reply that each must get; and what a learner can break."""

from __future__ import annotations

import ast
import hashlib
import io
import itertools
import json
import linecache
import signal
import statistics
import sys
import threading
import time
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import fedkit as fk
import fedkit.teaching.check
from fedkit.rounds.history import History, RoundRecord
from fedkit.teaching.check import attempt as attempts
from fedkit.teaching.check.answers import number, plain, shown, tensor, truth
from fedkit.teaching.check.attempt import Endless, Wrong, bounded, little_memory, open_lines
from fedkit.teaching.check.base import REGISTRY, Result
from tests.support import ROOT
from tests.support.answers import ANSWERS
from tests.support.helpers import posix

fedkit.teaching.check.names()
_CELLS = itertools.count(1)


def cell(source: str) -> dict[str, Any]:
    """The names after a cell has run; its source can be read, as in a notebook."""
    name = f"<cell {next(_CELLS)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    scope: dict[str, Any] = {
        "torch": torch,
        "np": np,
        "F": F,
        "fk": fk,
        "hashlib": hashlib,
        "json": json,
    }
    scope |= {"statistics": statistics, "loss": torch.zeros(1, requires_grad=True).sum()}
    try:
        tree = ast.parse(source)
        if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
            value = eval(compile(source, name, "eval"), scope)
            scope["answers"] = value if isinstance(tree.body[0].value, ast.Tuple) else (value,)
        else:
            exec(compile(source, name, "exec"), scope)
    except SyntaxError as error:
        raise AssertionError(source) from error
    return scope


def reply(check: str, source: str) -> Result:
    scope = cell(source)
    answers = scope.get("answers") or (scope[check],)
    if check == "quorum":
        answers = (*answers, History("P", (RoundRecord(1, (), accuracy=0.84, loss=1.0),), 1))
    if check == "refuse_nan" and "answers" not in scope:
        sound = {"a": torch.ones(2), "b": torch.zeros(1)}
        spoilt = {"a": torch.tensor([1.0, float("nan")]), "b": torch.zeros(1)}
        answers = (*answers, {"ana": sound, "dan": spoilt}, sound)
    return REGISTRY[check](*answers)


CASES = [(check, *case) for check, cases in ANSWERS.items() for case in cases]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless loop is cut at once."""
    monkeypatch.setattr("fedkit.teaching.check.base.bounded", lambda word: bounded(word, 0.5, 5.0))


@pytest.mark.parametrize(
    ("check", "state", "says", "source"),
    CASES,
    ids=[f"{check}-{k}" for k, (check, *_) in enumerate(CASES)],
)
def test_the_answer_gets_its_reply(check: str, state: str, says: str, source: str) -> None:
    with redirect_stdout(io.StringIO()):
        said = reply(check, source)
    assert (said.state, says in said.message) == (state, True), f"{said}\n{source}"
    assert len(said.message) < 900


def _exercises() -> set[str]:
    """All but the capstone's, which have tests of their own in tests/lessons."""
    own = [f"fedkit.teaching.check.lesson_{n:02}" for n in (*range(1, 13), 14)]
    return {name for name, check in REGISTRY.items() if check.judge.__module__ in own}


def test_the_table_is_about_every_check_with_wrong_and_right_answers() -> None:
    assert set(ANSWERS) == _exercises()
    assert len(CASES) >= 150
    for check, cases in ANSWERS.items():
        states = [state for state, _, _ in cases]
        assert states.count("right") >= 2, check
        assert states.count("try again") >= 3, check
        assert "not yet" in states, check


def test_the_stubs_of_the_lessons_are_what_the_checks_expect() -> None:
    """The arguments, their order and the number of lines left open, of every exercise in the learner's edition."""
    seen = set()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for part in json.loads(path.read_text("utf-8"))["cells"]:
            source = "".join(part["source"])
            if part["cell_type"] != "code" or "fk.check." not in source:
                continue
            check = REGISTRY[source.split("fk.check.")[1].split("(")[0]]
            if check.name not in ANSWERS:
                continue
            seen.add(check.name)
            kinds = [
                n
                for n in ast.parse(source).body
                if isinstance(n, ast.FunctionDef) and f"fk.check.{check.name}({n.name}" in source
            ]
            assert bool(check.takes) == bool(kinds), check.name
            if not kinds:
                continue
            names = [a.arg for a in kinds[0].args.args]
            needed = names[: len(names) - len(kinds[0].args.defaults)]
            assert check.takes[: len(needed)] == tuple(needed), check.name
            assert check.takes == tuple(names[: len(check.takes)]), check.name
            lines = open_lines(cell(source.split("fk.check.")[0])[kinds[0].name])
            assert lines is not None
            assert len(lines) == check.gaps, check.name
    assert set(ANSWERS) <= seen


# ---------------------------------------------------------------------------- what a learner breaks
ENDLESS = {
    "a loop": "while True:\n        pass",
    "that catches all": "while True:\n        try:\n            email.strip()\n"
    "        except BaseException:\n            pass",
    "that catches errors": "while True:\n        try:\n            1 / 0\n        except Exception:\n            pass",
    "in torch": "while True:\n        torch.ones(1000).sum()",
    "of sleep": "import time\n    while True:\n        time.sleep(60)",
}


@posix
@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_loop_is_cut_with_a_word_and_its_line(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedkit.teaching.check.base.bounded", lambda word: bounded(word, 0.3, 1.0))
    before = signal.getsignal(signal.SIGALRM)
    said = reply("may_read", f"def may_read(access, email):\n    {ENDLESS[kind]}\n    return True")
    assert said.state == "try again"
    assert "still running after some seconds" in said.message
    assert "of may_read" in said.message
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0 or before not in (
        signal.SIG_DFL,
        signal.SIG_IGN,
        None,
    )


def test_where_nothing_can_interrupt_a_word_stands_beside_the_running_cell() -> None:
    words: list[float] = []
    began = time.monotonic()

    def slow() -> None:
        with bounded(lambda: words.append(time.monotonic() - began), 0.2, 9):
            while not words:
                time.sleep(0.01)

    thread = threading.Thread(target=slow)
    thread.start()
    thread.join(20)
    assert words
    assert words[0] >= 0.2


def _for_ever() -> None:
    with bounded(lambda: None, 0.1, 0.1):
        while True:
            pass


@posix
def test_somebodys_own_alarm_goes_off_later() -> None:
    rung: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    left = signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        with pytest.raises(Endless):
            _for_ever()
        deadline = time.monotonic() + 10
        while not rung and time.monotonic() < deadline:
            time.sleep(0.01)
        assert rung
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *left)


NO_STUB = "def may_read(access, email):\n    return torch.ones(2, dtype=torch.int64).log_softmax(0)"


def test_what_torch_has_not_implemented_is_no_stub() -> None:
    said = reply("may_read", NO_STUB)
    assert said.state == "try again"
    assert "NotImplementedError" in said.message
    assert "line 2 of may_read" in said.message


HOSTILE = {
    "a huge text": "return 'x' * 10**7",
    "a huge error": "raise ValueError('y' * 10**6)",
    "an error without words": "class Odd(Exception):\n        def __str__(self):\n"
    "            raise KeyError\n    raise Odd",
    "a value without words": "class Odd:\n        def __repr__(self):\n            raise KeyError\n    return Odd()",
    "itself in a list": "loop = []\n    loop.append(loop)\n    return loop",
    "deep": "deep = []\n    for _ in range(5000):\n        deep = [deep]\n    return deep",
    "a generator": "yield True",
    "much to read": "print('z' * 100_000)\n    return 3",
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("check", ["may_read", "rounds_to_reach", "mixing_weights"])
def test_whatever_comes_back_the_reply_is_short_and_nothing_breaks(kind: str, check: str) -> None:
    head = f"def {check}({', '.join(REGISTRY[check].takes)}):\n    "
    printed = io.StringIO()
    with redirect_stdout(printed):
        said = reply(check, head + HOSTILE[kind])
    assert said.state == "try again"
    assert 0 < len(said.message) < 900
    assert len(printed.getvalue()) < 2_100


def test_an_interrupt_by_its_owner_goes_through() -> None:
    def interrupted(access: object, email: object) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        REGISTRY["may_read"](interrupted)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds what a process writes to")
def test_a_check_never_takes_all_memory() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(MemoryError), little_memory():
        bytearray(5 * 2**30)
    with little_memory():
        assert len(bytearray(2**28)) == 2**28
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


RENAMED = "def fed_avg(updates, weighting='samples'):\n    return {}\n\n\nfk.check.fedavg(fedavg)"


@pytest.mark.parametrize(
    ("cell", "state"),
    [
        (RENAMED, "try again"),
        (RENAMED.replace("fed_avg", "fedavg"), "right"),
        ("def helper(x):\n    return x\n\n\nfk.check.fedavg(fedavg)", "right"),
        ("fk.check.fedavg(fedavg)", "right"),
        ("% not Python", "right"),
    ],
)
def test_a_function_that_lives_on_under_its_old_name_is_not_taken_for_the_new_one(
    cell: str, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedkit.teaching.check.base.running_source", lambda: cell)

    def fedavg(updates: Any, weighting: str = "samples") -> Any:
        return fk.fedavg(updates, weighting)

    said = REGISTRY["fedavg"](fedavg)
    assert said.state == state
    assert ("fed_avg" in said.message) == (state == "try again")


def test_a_slow_machine_is_not_the_learners_fault() -> None:
    with bounded(lambda: None, 0.3, 60):
        time.sleep(0.6)


# ------------------------------------------------------------------------------------------ values
def test_values_of_numpy_and_torch_are_taken_like_pythons_own() -> None:
    for one in (
        2,
        2.0,
        np.int8(2),
        np.float32(2),
        torch.tensor(2),
        torch.tensor([2.0]),
        np.array([[2]]),
    ):
        assert number(one) == 2.0
    for yes in (True, np.bool_(1), torch.tensor(True), np.array(True)):
        assert truth(yes) is True
    assert plain({"a": (np.int64(1), torch.ones(2))}) == {"a": (1, [1.0, 1.0])}
    assert torch.equal(
        tensor([torch.tensor(1.0), torch.tensor(2.0)], wrong=""), torch.tensor([1.0, 2.0])
    )
    for no in (1, "yes", None, np.array([True, False])):
        with pytest.raises(Wrong):
            truth(no)
    assert len(shown(list(range(10**5)))) <= 120


def test_a_learners_list_is_never_the_next_cases() -> None:
    """A function that empties what it is given is judged by each case as if it were the first."""
    body = "yes = email in access['read'] + access['write'] + access['admin'] or '*' in access['read'] + access['write']"
    source = f"def may_read(access, email):\n    {body}\n    access['read'].append(email)\n    return yes"
    assert reply("may_read", source).state == "right"


def test_the_time_limit_is_some_seconds() -> None:
    assert 2 <= attempts._CPU_S <= 6
    assert attempts._CPU_S < attempts._WALL_S <= 30
