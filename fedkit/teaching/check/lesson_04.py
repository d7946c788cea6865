"""Checks of notebook 04: the share of each update, and the mean of the updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fedkit.learning.strategies.fedavg import fedavg as packages_own
from fedkit.learning.update import Update
from fedkit.teaching.check.answers import number, tensor
from fedkit.teaching.check.attempt import Open, Unfinished, Wrong, open_lines
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
    ((100, 300, 200), "equal", (1 / 3, 1 / 3, 1 / 3)): (
        'With the weighting "equal", three updates should have a third each.'
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
        try:
            _check_cases(attempt, equally)
        except Unfinished:
            missing.append(name)
        except Wrong:
            # a first return that is open falls through to the second
            if not (equally and open_lines(attempt) and _is_there(attempt)):
                raise
            missing.append(name)
        else:
            right.append(name)
    if missing and right:
        raise Open(f"The {right[0]} return is right; the {missing[0]} is still open.")
    if missing:
        raise Open
    return "Every image pulls at the model equally, whoever holds it; only where nobody can count do updates."


def _check_cases(attempt: Callable[..., object], equally: bool) -> None:
    """Raises Wrong, or Unfinished, by the cases of the first return (`equally`) or of the second."""
    for (counts, weighting, wanted), wrong in _SHARES.items():
        if equally is ((counts, weighting, wanted) in _ALL_THE_SAME):
            got = attempt([_update(n) for n in counts], weighting)
            _check_shares(got, counts, wanted, wrong)


def _is_there(attempt: Callable[..., object]) -> bool:
    """Is the second return filled in? Raises Wrong where it is, and is wrong."""
    try:
        _check_cases(attempt, equally=False)
    except Unfinished:
        return False
    return True


def _check_shares(
    got: object, counts: tuple[int | None, ...], wanted: tuple[float, ...], wrong: str
) -> None:
    form = "The answer should be a list with one share for each update."
    found = tensor(got, wrong=form)
    if found.ndim != 1:
        raise Wrong(f"{form} Yours has the shape {list(found.shape)}.", sure=True)
    shares = [number(share) for share in found]
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
        yours = f" Yours: {', '.join(f'{share:.4g}' for share in shares)}."
        turned = all(abs(a - b) <= _SAME for a, b in zip(shares[::-1], wanted, strict=True))
        raise Wrong(
            wrong + yours + (" They are with the wrong updates." if turned else ""), sure=True
        )


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

    def is_like(first: float, second: float, within: float = _SAME) -> bool:
        return all(
            torch.allclose(got[n], first * alice[n] + second * bob[n], atol=within)
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
    if is_like(1, 0) or is_like(0.75, 0):
        raise Wrong("Only the first update is in your mean. Each one's own tensor is wanted.")
    if is_like(0, 0.25) or is_like(0, 1):
        raise Wrong("The first update is left out of your mean.")
    if is_like(0.375, 0.125):
        raise Wrong("Shares add up to 1 already: the sum need not be divided again.")
    if is_like(0.75, 0.25, within=0.01) and not is_like(0.75, 0.25):
        raise Wrong("Nearly: digits are lost on the way. Calculate in float32 or float64.")
    if not is_like(0.75, 0.25):
        raise Wrong(
            "For 600 and 200 images, each tensor should be 0.75 of the first and 0.25 of the second."
        )
    if not torch.equal(got["seen"], torch.tensor(4)):  # 3.75, a whole number again
        raise Wrong("A tensor of whole numbers should be rounded to whole numbers again.")
    said = "One multiplication and one sum for each tensor: FedAvg is no more than this."
    return said if _adds_in_float64(attempt) else f"{said} {_IN_FLOAT32}"


_IN_FLOAT32 = (
    "Yours adds up in float32, the package in float64 and rounds once: the last bits may differ, and "
    "then two models that should be the same have other hashes."
)


def _adds_in_float64(attempt: Callable[..., object]) -> bool:
    """Are these the package's own bits, for five updates of many numbers?"""
    draw = torch.Generator().manual_seed(7)
    updates = [_update(n, {"w": torch.randn(2_000, generator=draw)}) for n in (7, 11, 13, 17, 19)]
    mine, theirs = attempt(updates), packages_own(updates)["w"]
    got = tensor(mine.get("w") if isinstance(mine, Mapping) else None, wrong=_OTHERS)
    if got.shape != theirs.shape or not torch.allclose(got, theirs, atol=_SAME):
        raise Wrong(_OTHERS)
    return torch.equal(got, theirs)


_OTHERS = "For two updates of 600 and 200 images it is right, for five others it is not."
