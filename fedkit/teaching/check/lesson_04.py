"""Checks of notebook 04: the share of each update, and the mean of the updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fedkit.learning.update import Update
from fedkit.teaching.check.answers import number, tensor
from fedkit.teaching.check.attempt import Open, Unfinished, Wrong
from fedkit.teaching.check.base import check

_SAME = 1e-6


def _update(samples: int | None, state: Mapping[str, Tensor] | None = None) -> Update:
    return Update("somebody@example.org", 1, state or {}, samples)


# (sample counts, weighting, the shares) -> what is wrong with others
_SHARES: dict[tuple[tuple[int | None, ...], str, tuple[float, ...]], str] = {
    ((600, 200), "samples", (0.75, 0.25)): (
        "With 600 and 200 images, the first update should have three quarters of the average."
    ),
    ((100, 300, 100), "samples", (0.2, 0.6, 0.2)): (
        "With 100, 300 and 100 images, the second of three should have 0.6 of the average."
    ),
    ((600, 200), "equal", (0.5, 0.5)): (
        'With the weighting "equal", 600 and 200 images should not matter: half each.'
    ),
    ((600, None, 200), "samples", (0.5, 1 / 3, 1 / 6)): (
        "With 600, an unknown number and 200 images, the unknown one should count as 400, the median of the others."
    ),
    ((None, None), "samples", (0.5, 0.5)): (
        "If no count is known, all updates should count the same."
    ),
    ((50,), "samples", (1.0,)): "A single update is the whole average.",
}
_ALL_THE_SAME = [case for case in _SHARES if case[1] == "equal" or case[0] == (None, None)]
"""Those of the first return."""


@check(
    hint="Two returns are missing, each a list with one share for each update. The first is for updates that "
    "all count the same, the second for shares by number of images. Both lists add up to 1.",
    takes="updates weighting",
    gaps=2,
)
def mixing_weights(attempt: Callable[..., object]) -> str:
    """The share of each update."""
    right, missing = list[str](), list[str]()
    for name, equally in (("first", True), ("second", False)):
        cases = {
            case: wrong for case, wrong in _SHARES.items() if equally is (case in _ALL_THE_SAME)
        }
        try:
            for (counts, weighting, wanted), wrong in cases.items():
                _check_shares(
                    attempt([_update(n) for n in counts], weighting), counts, wanted, wrong
                )
        except Unfinished:
            missing.append(name)
        else:
            right.append(name)
    if missing and right:
        raise Open(f"The {right[0]} return is right; the {missing[0]} is still open.")
    if missing:
        raise Open
    return "Every image pulls at the model equally, whoever holds it; only where nobody can count do updates."


def _check_shares(
    got: object, counts: tuple[int | None, ...], wanted: tuple[float, ...], wrong: str
) -> None:
    listed = tensor(got, wrong="The answer should be a list with one share for each update.")
    shares = [number(share) for share in listed.flatten()]
    if len(shares) != len(counts):
        raise Wrong(
            f"{len(counts)} updates should have {len(counts)} shares; yours are {len(shares)}.",
            sure=True,
        )
    if abs(sum(shares) - 1) > _SAME:
        said = ", ".join("unknown" if count is None else str(count) for count in counts)
        raise Wrong(
            f"For updates of {said} images, your shares add up to {sum(shares):g}, not to 1.",
            sure=True,
        )
    if any(abs(a - b) > _SAME for a, b in zip(shares, wanted, strict=True)):
        raise Wrong(wrong, sure=True)


def _states() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(6)
    alice, bob = (
        {
            "layer.weight": torch.randn(2, 3, generator=draw),
            "layer.bias": torch.randn(2, generator=draw),
        }
        for _ in range(2)
    )
    return alice | {"seen": torch.tensor(3)}, bob | {"seen": torch.tensor(6)}


@check(
    hint="`parts` is a list with one tensor for each update: this tensor of the update, times the update's share.",
    takes="updates",
)
def fedavg(attempt: Callable[..., object]) -> str:
    """The mean of the updates."""
    alice, bob = _states()
    kept = {name: value.clone() for name, value in alice.items()}
    got = attempt([_update(600, alice), _update(200, bob)])
    if not isinstance(got, Mapping) or set(got) != set(alice):
        raise Wrong("The answer should be a state with the same names as each update.")
    if not all(isinstance(value, Tensor) for value in got.values()):
        got = {
            name: tensor(value, wrong=f"{name} should be a tensor, as in each update.")
            for name, value in got.items()
        }
    for name, value in got.items():
        if value.shape != alice[name].shape:
            raise Wrong(f"{name} should be a tensor of the same shape as in each update.")
        if value.dtype != alice[name].dtype:
            raise Wrong(f"{name} is {value.dtype}; in the updates it is {alice[name].dtype}.")
    if any(not torch.equal(alice[name], kept[name]) for name in kept):
        raise Wrong("Averaging should leave the updates as they are, and yours has changed one.")

    def is_like(first: float, second: float) -> bool:
        return all(
            torch.allclose(got[n], first * alice[n] + second * bob[n], atol=_SAME)
            for n in ("layer.weight", "layer.bias")
        )

    if is_like(1, 1):
        raise Wrong("Both updates are added up in full. What is each one's share?")
    if is_like(0.5, 0.5):
        raise Wrong("Both updates count the same, though one has 600 images and the other 200.")
    if is_like(0.25, 0.75):
        raise Wrong("The shares are with the wrong updates: 600 images are the larger share.")
    if is_like(600, 200):
        raise Wrong("The tensors are multiplied by the counts. The shares add up to 1.")
    if not is_like(0.75, 0.25):
        raise Wrong(
            "For 600 and 200 images, each tensor should be 0.75 of the first and 0.25 of the second."
        )
    if not torch.equal(got["seen"], torch.tensor(4)):  # 3.75, a whole number again
        raise Wrong("A tensor of whole numbers should be rounded to whole numbers again.")
    return "One multiplication and one sum for each tensor: FedAvg is no more than this."
