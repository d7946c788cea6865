"""Checks of notebook 05: an odd request, a quorum with its prediction, and a check that refuses NaN and is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fedkit.learning.models import StateDict, flatten
from fedkit.learning.strategies.fedavg import fedavg
from fedkit.learning.update import Update
from fedkit.rounds.history import History
from fedkit.teaching.check.answers import near, number
from fedkit.teaching.check.attempt import PRINTED, Open, Wrong, unfinished
from fedkit.teaching.check.base import check
from fedkit.teaching.odd_request import HARMLESS, HARMS, ODD_MODEL

PEOPLE, ABSENT = 4, 1
LINES = len(ODD_MODEL.splitlines())
CLOSE = 0.05  # a prediction may be off by so much


@check(
    hint="With how many updates must a round be content? Then: three quarters of the images are left, of the same mixture.",
    parts=True,
)
def quorum(answer: object, prediction: object, history: History) -> str:
    """A quorum, and what it costs."""
    came = history.accuracies[-1]
    if unfinished(answer):
        if not unfinished(prediction) and abs(number(prediction) - came) <= CLOSE:
            raise Open("The prediction fits; the quorum is still open.")
        raise Open
    wanted = number(answer)
    if 0 < wanted < 1 and not unfinished(prediction) and number(prediction) > 1:
        raise Wrong("The two answers are swapped: the quorum is the first, the prediction follows.")
    if wanted not in range(1, PEOPLE + 1):
        raise Wrong(
            f"A quorum counts updates: a whole number from 1 to {PEOPLE}. Yours is {wanted:g}."
        )
    if wanted > PEOPLE - ABSENT:
        raise Wrong(f"With a quorum of {wanted:g}, every round waits for Dan, and he is gone.")
    if wanted < PEOPLE - ABSENT:
        raise Wrong(
            f"A quorum of {wanted:g} goes on without Dan, but it would also go on if one more were missing."
        )
    if unfinished(prediction):
        raise Open("The quorum fits; the prediction is still open.")
    guess = number(prediction)
    if not 0 <= guess <= 1:
        raise Wrong("The quorum fits. Give the accuracy as a number between 0 and 1.")
    near(guess, came, within=CLOSE, wrong=f"The quorum fits. {_off(guess, came)}")
    return (
        f"Three of four go on, two don't. You said {guess:.1%}, it became {came:.1%}: Dan's digits are of the same "
        "mixture as the others', so his absence costs little."
    )


@check(
    hint="Read each finding, then the line that it names. Where do pixels go, and does what keeps them leave the machine?",
    parts=True,
)
def odd_request(line: object, answer: object) -> str:
    """A request that deserves suspicion."""
    if unfinished(line):
        if not unfinished(answer) and _decision(answer) == "decline":
            raise Open("Declining fits; the line is still open.")
        raise Open
    if isinstance(line, str) and not isinstance(answer, str):
        raise Wrong("The two answers are swapped: first the number of the line, then the word.")
    named = number(line)
    if named not in range(1, LINES + 1):
        raise Wrong(f"The model has lines 1 to {LINES}; yours is {named:g}.")
    if named in HARMLESS:
        raise Wrong(
            f"Line {named:g} stands out, and asking about it is right: the module os reaches files and processes. Here it "
            "counts the processors, and touches no image. Which line puts pixels somewhere?"
        )
    if named != HARMS:
        raise Wrong(
            f"Line {named:g} keeps nothing of the images. Which line writes pixels into something that outlives the call?"
        )
    if unfinished(answer):
        raise Open("The line fits; the answer is still open.")
    if _decision(answer) == "approve":
        raise Wrong(
            "You have found the line, and would let it run: with each update, images of Alice's would reach Ana."
        )
    return (
        f"Line {HARMS} copies up to eight images of each batch into a buffer, and buffers travel with the weights: Ana "
        "would read Alice's digits out of the update. The other two findings are harmless. Only reading tells them apart."
    )


def _decision(answer: object) -> str:
    said = answer.lower().strip(" .!") if isinstance(answer, str) else ""
    if said not in ("approve", "decline"):
        raise Wrong('The second answer is a word in quotes: "approve" or "decline".')
    return said


def _off(guess: float, came: float) -> str:
    said = f"than the {guess:.1%} that you said."
    if guess < came:
        more = "Fewer images are not as bad as that here: which digits do the other three hold?"
        return f"The accuracy became higher {said} {more}"
    more = "Where did the project end in which everybody took part?"
    return f"The accuracy became lower {said} {more}"


@check(
    hint="Go through state.items(); torch.isnan(tensor) says for each number whether it is NaN.",
    returns=False,
    takes="state",
)
def refuse_nan(
    attempt: Callable[[StateDict], object],
    arrived: Mapping[str, Mapping[str, Tensor]],
    averaged: Mapping[str, Tensor],
) -> str:
    """Refusing NaN, and averaging the rest."""
    _try_out(attempt)
    kept = [
        Update(email, 2, state)
        for email, state in arrived.items()
        if attempt({name: tensor.clone() for name, tensor in state.items()}) is None
    ]
    refused = [email for email in arrived if email not in [update.participant for update in kept]]
    if not kept:
        raise Wrong(
            "Your function refuses all updates that arrived, and nothing is left to average."
        )
    mine, theirs = flatten(fedavg(kept)), flatten(averaged)
    if not torch.equal(mine, theirs):
        who = ", ".join(refused) or "nobody"
        raise Wrong(
            f"Your function refuses {who}. The mean of the rest is not the aggregator's model of round 2."
        )
    return (
        f"Used on what arrived, your function refuses {', '.join(refused)}, and the mean of the other {len(kept)} is the "
        "aggregator's model of round 2, to the last bit."
    )


def _try_out(attempt: Callable[[StateDict], object]) -> None:
    nan = float("nan")

    def sound() -> StateDict:
        return {"a": torch.tensor([[0.0, -1.0], [1e30, 2.0]]), "b": torch.zeros(3)}

    def says(state: StateDict) -> str | None:
        answer = attempt(state)
        if answer is None and getattr(attempt, "printed", False):
            raise Wrong(PRINTED)
        if answer is not None and not isinstance(answer, str):
            kind = type(answer).__name__
            raise Wrong(f"The answer should be a text or None; yours is of type {kind}.")
        return answer

    if says(sound()) is not None:
        raise Wrong(
            "A state without any NaN is refused. Zeros, negative and large numbers are sound."
        )
    for name, position in (("a", (1, 0)), ("b", (2,))):
        state = sound()
        state[name][position] = nan
        answer = says(state)
        if answer is None:
            where = "first" if name == "a" else "last"
            raise Wrong(
                f"One NaN in the {where} of two tensors is not noticed. One is enough to spoil a mean, and NaN is equal to "
                "nothing, itself included."
            )
        if not answer.strip():
            raise Wrong("The reason is an empty text. Say what is wrong: a person will read it.")
