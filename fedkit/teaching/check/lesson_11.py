"""Checks of notebook 11: when a run has arrived, and which learning rate is the best of its row."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from fedkit.teaching.check.answers import number, shown
from fedkit.teaching.check.attempt import PRINTED, Open, Unfinished, Wrong, open_lines
from fedkit.teaching.check.base import check

# (accuracies, target, rounds) -> what is wrong with others
_CURVES: dict[tuple[tuple[float, ...], float, float], str] = {
    (
        (0.2, 0.4, 0.8),
        0.8,
        3.0,
    ): "A curve that has exactly the target after round 3 needs 3 rounds.",
    ((0.2, 0.4, 0.8), 0.5, 2.25): (
        "From 0.4 after round 2 to 0.8 after round 3, a target of 0.5 is crossed a quarter of the way: 2.25."
    ),
    ((0.6, 0.2, 0.8), 0.7, 2.5): (
        "After 0.6 and 0.2 the best so far is 0.6, so 0.7 is halfway between rounds 2 and 3: 2.5. "
        "Is `best` the best of all rounds before, or the last one?"
    ),
    ((0.3, 0.7, 0.5, 0.9), 0.65, 1.875): "The first crossing counts, not the last one.",
    ((0.9, 0.95), 0.5, 1.0): "A run that is above the target after round 1 needs 1 round.",
}


@check(
    hint="Two lines are missing. In a round that has the target: how far between `best` and this accuracy does the "
    "target lie? That share, on top of the n - 1 rounds before. In any other round, `best` may have to grow.",
    returns=False,
    takes="accuracies target",
    gaps=2,
)
def rounds_to_reach(attempt: Callable[..., object]) -> str:
    """Rounds until a run arrives."""
    if open_lines(attempt):
        _one_of_two(attempt)
        raise Open
    for (accuracies, target, wanted), wrong in _CURVES.items():
        got = attempt(list(accuracies), target)
        if got is None and getattr(attempt, "printed", False):
            raise Wrong(PRINTED)
        if got is None or abs(number(got) - wanted) > 1e-6:
            raise Wrong(
                f"For {list(accuracies)} and the target {target}, yours is {shown(got)}. {wrong}"
            )
    if attempt([0.1, 0.2, 0.15], 0.5) is not None:
        raise Wrong("A run that never has the target should give None.")
    return "What was reached once counts as reached, and the line between two rounds makes parts of rounds count."


def _one_of_two(attempt: Callable[..., object]) -> None:
    """Says which of the two lines is right already, on curves for which the other one does not matter."""
    try:
        got = (attempt([0.9], 0.5), attempt([0.0, 0.8], 0.4), attempt([0.0, 0.0, 0.5], 0.5))
        right = all(
            value is not None and abs(number(value) - wanted) < 1e-6
            for value, wanted in zip(got, (1.0, 1.5, 3.0), strict=True)
        )
    except Unfinished:  # the return is open
        return
    if not any(value is not None for value in got):  # so it is where dots stand in its place
        return
    if not right:
        raise Wrong(
            "From 0 after round 1 to 0.8 after round 2, a target of 0.4 is crossed halfway: 1.5; and above the target "
            "after round 1 needs 1 round. Your return says otherwise.",
            sure=True,
        )
    raise Open("The return is right; what becomes of `best` is still open.")


@check(
    hint="`means` has the mean number of rounds for each learning rate that always arrived. Which of its keys has the "
    "smallest value? `min` takes a `key`.",
    takes="frame",
)
def tuned(attempt: Callable[..., object]) -> str:
    """The best learning rate of each row."""
    frame = pd.DataFrame(
        [
            *[("a", 0.1, 9.0), ("a", 0.1, 8.0), ("a", 0.3, 4.0), ("a", 0.3, 6.0), ("a", 0.5, 7.0)],
            *[("b", 0.1, 7.0), ("b", 0.3, None), ("b", 0.3, 2.0), ("b", 0.5, 30.0)],
        ],
        columns=["row", "learning_rate", "rounds_to_target"],
    )
    got = attempt(frame)
    if isinstance(got, pd.Series):
        got = got.to_dict()
    if not isinstance(got, Mapping) or set(got) != {"a", "b"}:
        raise Wrong("The answer should be a dict with one learning rate for each row.")
    best = {
        name: round(number(rate), 6) for name, rate in got.items()
    }  # a float32 has no more digits
    if best["a"] == 5.0:
        raise Wrong(
            "Yours is the smallest number of rounds; the learning rate that has it is wanted."
        )
    if best["a"] not in (0.1, 0.3, 0.5):
        raise Wrong(
            f"For row a yours is {best['a']:g}, which is none of its learning rates: 0.1, 0.3, 0.5."
        )
    if best["a"] == 0.1:
        raise Wrong("Yours needs the most rounds. Fewer are better.")
    if best["a"] != 0.3:
        raise Wrong("In row a, 0.3 takes 5 rounds in the mean, 0.5 takes 7 and 0.1 takes 8.5.")
    if best["b"] == 0.3:
        raise Wrong("In row b, 0.3 arrived with one seed and never with the other: it can't win.")
    if best["b"] != 0.1:
        raise Wrong("In row b, 0.1 takes 7 rounds and 0.5 takes 30; 0.3 did not always arrive.")
    other = attempt(frame.assign(learning_rate=frame["learning_rate"] * 2))
    if not isinstance(other, pd.Series | Mapping) or abs(number(other["b"]) - 0.2) > 1e-6:
        raise Wrong(
            "For one table it is right, for one with other rates it is not. Is the table used?"
        )
    return "Each row has its own best rate; at one rate for all, you would compare how well that rate suits them."
