"""What became of each update, told from the records: a word and a sign for each fate."""

from __future__ import annotations

from fedkit.protocol.aggregator.inbox import Collected
from fedkit.rounds.history import Contribution, History, RoundRecord
from fedkit.teaching.failures.fates import SIGNS, Fate, fates
from tests.support.helpers import ALICE, BOB, CAROL, PROJECT

PEOPLE = [ALICE, BOB, CAROL]


def contribution(email: str) -> Contribution:
    return Contribution(email, 0.5, 6, 0.1, 1.0, "0" * 64)


def test_fates_of_a_history() -> None:
    history = History(
        PROJECT,
        (
            RoundRecord(1, tuple(map(contribution, PEOPLE))),
            RoundRecord(2, (contribution(ALICE),), {BOB: "holds NaN"}, (CAROL,)),
            RoundRecord(3, (contribution(ALICE),)),
        ),
        4,
    )
    now = Collected((), {BOB: "is cut off"}, (CAROL,))
    found = fates(history, PEOPLE, [(CAROL, 2, "absent")], now, [BOB, CAROL])
    assert [(f.participant, f.round) for f in found] == [
        (e, n) for n in (1, 2, 3, 4) for e in PEOPLE
    ]
    words = [f.word for f in found]
    assert words[:3] == ["averaged"] * 3
    assert words[3:6] == ["averaged", "refused", "absent"]
    assert words[6:9] == ["averaged", "not asked", "not asked"]
    assert words[9:] == ["not asked", "refused", "awaited"]
    assert found[4].why == "holds NaN"
    assert found[5].why == "did nothing; the round ended with the 1 that came"
    assert len(fates(history, PEOPLE)) == 9


def test_signs_differ_so_that_colour_is_not_needed() -> None:
    assert len(set(SIGNS.values())) == len(SIGNS)
    assert Fate(ALICE, 1, "refused").sign == "✗"
