"""Random choices derive from (seed, who, when) and from nothing else."""

import random

import torch
from hypothesis import given
from hypothesis import strategies as st

from fedkit.base.seeds import derive, generator

KEYS = st.lists(st.one_of(st.text(max_size=5), st.integers(-3, 10)), max_size=4)


@given(st.integers(0, 2**63 - 1), KEYS)
def test_a_seed_fits_a_generator_and_repeats(seed: int, keys: list[str | int]) -> None:
    value = derive(seed, *keys)
    assert 0 <= value < 2**63
    assert derive(seed, *keys) == value


@given(KEYS, KEYS)
def test_other_keys_give_another_stream(one: list[str | int], other: list[str | int]) -> None:
    """("ab", "c") is not ("a", "bc"), and 1 is not "1"."""
    assert (derive(0, *one) == derive(0, *other)) == (one == other)


def test_nearby_seeds_are_unrelated() -> None:
    """Of 63 bits, half agree by chance (and bit 63 is always 0): not nearly all, not nearly none."""
    agreeing = [64 - (derive(s, "a", 1) ^ derive(s + 1, "a", 1)).bit_count() for s in range(200)]
    assert 30 < sum(agreeing) / len(agreeing) < 34


def test_generators_do_not_share_their_numbers() -> None:
    first, second = generator(0, "alice", 1), generator(0, "alice", 1)
    torch.rand(5, generator=first)
    other = generator(0, "bob", 1)
    torch.rand(7, generator=other)
    assert torch.equal(
        torch.rand(3, generator=second), torch.rand(3, generator=generator(0, "alice", 1))
    )


def test_the_callers_random_numbers_stay_where_they_were() -> None:
    states = torch.get_rng_state(), random.getstate()
    generator(3, "alice", 1)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
