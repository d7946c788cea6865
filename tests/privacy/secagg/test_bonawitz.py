"""Secure aggregation in memory: the sum is exact, whoever drops out when; fewer than t learn nothing; noise is noise."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedkit.base.errors import FedkitError
from fedkit.base.keys import new_secret
from fedkit.privacy.secagg.bonawitz import (
    Group,
    PublicKeys,
    Secrets,
    deal,
    mask,
    open_shares,
    reveal,
    unmask,
)
from fedkit.privacy.secagg.fixedpoint import fixed_point_sum
from fedkit.privacy.secagg.masks import Vector, mask_stream

rng = np.random.default_rng(0)


@dataclass
class Execution:
    """The protocol with `count` people of whom some leave after each step."""

    group: Group
    secrets: dict[str, Secrets]
    roster: dict[str, PublicKeys]
    dealt: dict[str, dict[str, bytes]]
    inputs: dict[str, Vector]
    masked: dict[str, Vector]
    answers: dict[str, dict[str, bytes]]

    @classmethod
    def run(cls, count: int, threshold: int, leaving: dict[str, int] | None = None) -> Execution:
        """leaving : for those who leave, the last step (0 to 4) that they still take."""
        names = [f"p{number}" for number in range(1, count + 1)]
        last = dict.fromkeys(names, 9) | (leaving or {})
        group = Group(new_secret(), threshold, {n: i for i, n in enumerate(names, start=1)})
        secrets = {name: Secrets.new() for name in names}
        roster = {n: secrets[n].public() for n in names if last[n] >= 1}
        dealt = {n: deal(group, n, secrets[n], roster) for n in roster if last[n] >= 2}
        inputs = {n: rng.integers(0, 2**64, 17, dtype=np.uint64) for n in names}
        masked = {
            n: mask(group, n, secrets[n], roster, dealt, inputs[n]) for n in dealt if last[n] >= 3
        }
        self = cls(group, secrets, roster, dealt, inputs, masked, {})
        self.answers = {n: reveal(group, self.opened(n), masked) for n in masked if last[n] >= 5}
        return self

    def sealed_for(self, name: str) -> dict[str, bytes]:
        return {dealer: shares[name] for dealer, shares in self.dealt.items() if dealer != name}

    def opened(self, name: str) -> dict[str, tuple[bytes, bytes]]:
        return open_shares(self.group, name, self.secrets[name], self.roster, self.sealed_for(name))

    def sum(self) -> Vector:
        return unmask(self.group, self.roster, self.dealt, self.masked, self.answers)

    def plain_sum(self) -> Vector:
        return fixed_point_sum([self.inputs[n] for n in self.masked])


# ------------------------------------------------------------------------------------ exactness
@given(data=st.data(), count=st.integers(2, 6))
@example(data=None, count=2)
@example(data=None, count=6)
def test_the_sum_is_exact_whoever_leaves_and_when(data: st.DataObject | None, count: int) -> None:
    threshold = data.draw(st.integers(count // 2 + 1, count)) if data else count // 2 + 1
    gone = data.draw(st.integers(0, count - threshold)) if data else 0
    leaving = {
        f"p{number}": data.draw(st.integers(0, 4))  # type: ignore[union-attr]
        for number in (data.draw(st.permutations(range(1, count + 1)))[:gone] if data else [])
    }
    done = Execution.run(count, threshold, leaving)
    assert len(done.answers) >= threshold
    assert done.sum().tolist() == done.plain_sum().tolist()
    # any t answers do, and always give the same
    some = dict(itertools.islice(reversed(done.answers.items()), threshold))
    assert replace(done, answers=some).sum().tolist() == done.plain_sum().tolist()


@pytest.mark.parametrize("step", [0, 1, 2, 4])
def test_with_one_fewer_than_the_threshold_nobody_goes_on(step: int) -> None:
    """p3 and p4 of four leave after a step; with a threshold of 3, the two others are too few."""
    with pytest.raises(FedkitError, match="has 2, and 3 of the 4 participants are needed"):
        Execution.run(4, 3, {"p3": step, "p4": step}).sum()


def test_answers_of_t_minus_1_can_not_be_joined() -> None:
    """Even an aggregator that does not stop at the threshold: two of three shares give other secrets."""
    done = Execution.run(4, 3)
    two = dict(itertools.islice(done.answers.items(), 2))
    eager = replace(done.group, threshold=2)
    with pytest.raises(FedkitError, match="do not fit the keys of p1"):
        unmask(eager, done.roster, done.dealt, done.masked, two)
    assert done.sum().tolist() == done.plain_sum().tolist()


def test_nobody_reveals_both_masks_of_one_person() -> None:
    """With both, the aggregator could open that one update; with what is revealed, a late one stays hidden."""
    done = Execution.run(5, 3, {"p5": 2})
    for name, shares in done.answers.items():
        opened = done.opened(name)
        assert shares.keys() == opened.keys() == done.dealt.keys()
        for dealer, share in shares.items():
            of_mask, of_own = opened[dealer]
            assert of_mask != of_own
            assert share == (of_mask if dealer == "p5" else of_own)


# --------------------------------------------------------------------- lies, at every place for one
def test_wrong_shares_are_noticed_and_passed_over() -> None:
    done = Execution.run(5, 3, {"p4": 2})
    wrong = {who: bytes(33) for who in done.answers["p1"]}
    short = dict.fromkeys(done.answers["p1"], b"")
    for bad in (wrong, short, {}):
        answers = {**done.answers, "p1": bad}
        assert replace(done, answers=answers).sum().tolist() == done.plain_sum().tolist()
        with pytest.raises(FedkitError, match="do not fit the keys of p1"):
            replace(done, answers={**answers, "p2": wrong}).sum()


def test_a_roster_with_other_keys_of_mine_or_one_key_twice_is_refused() -> None:
    done = Execution.run(3, 2)
    other = {**done.roster, "p1": Secrets.new().public()}
    with pytest.raises(FedkitError, match="other keys of p1"):
        deal(done.group, "p1", done.secrets["p1"], other)
    twice = {**done.roster, "p3": replace(done.roster["p3"], mask=done.roster["p2"].mask)}
    with pytest.raises(FedkitError, match="one key twice"):
        deal(done.group, "p1", done.secrets["p1"], twice)
    stranger = {**done.roster, "mallory": Secrets.new().public()}
    with pytest.raises(FedkitError, match="names 'mallory'"):
        deal(done.group, "p1", done.secrets["p1"], stranger)


def test_shares_open_for_the_right_person_and_round_alone() -> None:
    done = Execution.run(3, 2)
    right = done.sealed_for("p1")
    flipped = {**right, "p2": right["p2"][:-1] + bytes([right["p2"][-1] ^ 1])}
    swapped = {**right, "p2": done.dealt["p2"]["p3"]}
    other_round = replace(done.group, context=new_secret())
    for group, sealed in ((done.group, flipped), (done.group, swapped), (other_round, right)):
        with pytest.raises(FedkitError, match="shares of p2 can't be unsealed"):
            open_shares(group, "p1", done.secrets["p1"], done.roster, sealed)


# ------------------------------------------------------------------------------- noise is noise
def p_value(vector: Vector) -> float:
    """Chi-square over the 256 values of all bytes: how likely noise is at least as uneven (normal approximation)."""
    seen = np.bincount(vector.view(np.uint8), minlength=256)
    expected = seen.sum() / 256
    statistic = float(((seen - expected) ** 2 / expected).sum())
    cube = (statistic / 255) ** (1 / 3)  # Wilson and Hilferty 1931
    z = (cube - (1 - 2 / (9 * 255))) / math.sqrt(2 / (9 * 255))
    return 0.5 * math.erfc(z / math.sqrt(2))


def uneven(vector: Vector) -> float:
    """The smallest p-value over all bytes and over each of the eight places of a number."""
    places = np.ascontiguousarray(vector.view(np.uint8).reshape(-1, 8).T)
    return min(p_value(vector), *(p_value(place) for place in places))


SAME = np.full(20_000, 7, dtype=np.uint64)


def masks_of(count: int) -> tuple[Execution, list[Vector]]:
    done = Execution.run(count, count // 2 + 1)
    return done, [
        mask(done.group, name, done.secrets[name], done.roster, done.dealt, SAME)
        for name in done.dealt
    ]


def test_a_masked_vector_is_noise_and_so_are_differences_of_two() -> None:
    """Keys are new each time, so the limit is one that chance passes once in 10^7 runs."""
    _, hidden = masks_of(3)
    for vector in (*hidden, hidden[0] - hidden[1], hidden[0] + hidden[1], hidden[0] ^ hidden[2]):
        assert uneven(vector) > 1e-9
    again = masks_of(3)[1]
    assert uneven(hidden[0] - again[0]) > 1e-9
    # what the test of evenness is worth: it passes for the operating system's noise
    assert uneven(mask_stream(new_secret(), 20_000)) > 1e-9


@pytest.mark.parametrize(
    "broken",
    [
        lambda stream: stream * np.uint64(0),  # forgotten
        lambda stream: stream >> np.uint64(8),  # not over the whole range
        lambda stream: stream & np.uint64(2**32 - 1),  # 32 bits for numbers of 64
        lambda stream: stream[:200].repeat(100),  # repeated
        lambda stream: (stream / 2).astype(np.uint64) + (stream[::-1] / 2).astype(np.uint64),
    ],
)
def test_a_broken_mask_is_no_noise(broken: Any) -> None:
    assert uneven(SAME + broken(mask_stream(new_secret(), 20_000))) < 1e-12


def test_the_same_masks_twice_would_show_the_difference() -> None:
    """Why one execution masks one vector."""
    done, hidden = masks_of(3)
    more = mask(done.group, "p1", done.secrets["p1"], done.roster, done.dealt, SAME + np.uint64(5))
    assert set((more - hidden[0]).tolist()) == {5}
