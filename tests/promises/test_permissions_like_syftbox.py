"""Who may do what is what SyftBox's engines say, or less: beside their own code, on random rules in random folders.

The table in `permissions` says where they differ, and here stands how: of PySyft and the Go server both must allow it, of
SyftBox 0.4 its list and its answer; a file that one of them refuses allows nothing, and a name that some system takes for a
permission file's needs admin. All else is equal, question by question. What was answered is counted, so that a generator
that asks nothing is seen too.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from pydantic import ValidationError
from syft_permissions import RuleSet
from yaml import YAMLError

from fedkit.datasite.permissions import OLDEST, Permissions, Right
from tests.support.engines import (
    NEW,
    OLD,
    PROTECTED,
    REFUSED_BY_GO,
    REFUSED_BY_PYSYFT,
    RIGHTS,
    USERS,
    Case,
    Go,
    PySyft,
    ask_syftbox,
    new_case,
    old_case,
)
from tests.support.helpers import ALICE
from tests.support.mutations import EXAMPLES

CASES = int(1200 * EXAMPLES) if EXAMPLES > 1 else 600


def is_protected(path: str) -> bool:
    return bool(set(path.split("/")) & set(PROTECTED))


def asked(case: Case) -> Iterator[tuple[str, str, Right]]:
    return product(case.paths, USERS, RIGHTS)


def test_syft_pub_yaml_as_pysyft_and_go_judge_it(tmp_path: Path) -> None:
    rng = random.Random(0)
    seen = Counter[str]()
    for number in range(CASES):
        case = new_case(rng)
        datasites = tmp_path / str(number)
        case.write(datasites / ALICE, NEW)
        ours, pysyft, go = Permissions(datasites), PySyft(datasites / ALICE, case), Go(case)
        for path, user, right in asked(case):
            level = "admin" if right in ("create", "write") and is_protected(path) else right
            by_pysyft, by_go = pysyft.may(user, level, path), go.may(user, level, path)
            expected = by_pysyft and by_go and not case.is_closed(path)
            question = (number, case.files, path, user, right, by_pysyft, by_go)
            assert ours.may(user, right, f"{ALICE}/{path}") == expected, question
            seen[f"PySyft {by_pysyft}, Go {by_go}"] += 1
    assert len(seen) == 4, seen
    assert min(seen.values()) > 100, seen


@pytest.mark.parametrize("text", [*REFUSED_BY_PYSYFT, *REFUSED_BY_GO])
def test_which_files_pysyft_refuses(tmp_path: Path, text: str) -> None:
    """A file that one engine refuses is refused here; PySyft's own word, where it is the one."""
    (tmp_path / NEW).write_text(text, encoding="utf-8")
    if text in REFUSED_BY_GO:
        RuleSet.load(tmp_path / NEW)
    else:
        with pytest.raises((ValidationError, YAMLError)):
            RuleSet.load(tmp_path / NEW)


def test_syftperm_yaml_as_syftbox_judges_it(tmp_path: Path) -> None:
    rng = random.Random(0)
    cases = [old_case(rng) for _ in range(CASES)]
    seen = Counter[bool | None]()
    for number, (case, answer) in enumerate(zip(cases, ask_syftbox(cases), strict=True)):
        datasites = tmp_path / str(number)
        case.write(datasites / ALICE, OLD)
        ours = Permissions(datasites)
        assert (answer is None) == bool(case.refused), case.files
        for path, user, right in asked(case):
            level = "admin" if right in ("create", "write") and is_protected(path) else right
            expected = answer is not None and answer[path, user, level]
            question = (number, case.files, path, user, right, expected)
            assert ours.may(user, right, f"{ALICE}/{path}") == expected, question
            seen[None if answer is None else expected] += 1
    assert min(seen.values()) > 1000, seen


def test_readers_are_those_whom_it_reaches(tmp_path: Path) -> None:
    """Asked for all at once, by names, and for each: the same, whatever lies in the files."""
    rng = random.Random(0)
    people = {*USERS, *(f"p{number}@example.org" for number in range(5)), "x@other.net"}
    some, none = 0, 0
    for number in range(100):
        datasites = tmp_path / str(number)
        cases = [(new_case(rng), NEW), (old_case(rng), OLD)]
        cases = cases if number % 3 == 0 else [cases[number % 3 - 1]]
        for case, kind in cases:
            case.write(datasites / ALICE, kind)
        if number % 5 == 0:
            lists = {"read": [rng.choice(sorted(people)), "GLOBAL"][: rng.randint(1, 2)]}
            (datasites / ALICE / "oldest").mkdir(exist_ok=True)
            (datasites / ALICE / "oldest" / OLDEST).write_text(json.dumps(lists), encoding="utf-8")
        asked = Permissions(datasites)
        for path in sorted({*cases[0][0].paths, "oldest/x.txt", f"oldest/{OLDEST}", f"x/{NEW}"}):
            place = f"{ALICE}/{path}"
            found = {email for email in people if Permissions(datasites).reaches(email, place)}
            assert asked.readers(people, place) == found, (number, path)
            some, none = some + bool(found - {ALICE}), none + (not found - {ALICE})
    assert min(some, none) > 100
