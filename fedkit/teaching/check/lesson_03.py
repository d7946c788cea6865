"""Checks of notebook 03: an epoch of SGD, the steps of a round, and what the facts beside an update tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedkit.teaching.check.answers import near, number, plain
from fedkit.teaching.check.attempt import Open, Wrong, open_lines
from fedkit.teaching.check.base import check

_RATE, _BATCH, _SAMPLES = 0.5, 4, 10
_SAME = 1e-5


def _data() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    images = torch.rand(_SAMPLES, 1, 2, 2, generator=draw)
    return images, torch.arange(_SAMPLES) % 3


def _model() -> nn.Module:
    layer = nn.Linear(4, 3)
    draw = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    return nn.Sequential(nn.Flatten(), layer)


def _expected(rate: float, batch: int, order: Tensor | None = None) -> tuple[Tensor, float]:
    """Weights and mean loss after an epoch in this order (default: as shuffled)."""
    if order is None:
        order = torch.randperm(_SAMPLES, generator=torch.Generator().manual_seed(5))
    return _after(order.split(batch), rate)


def _after(batches: Sequence[Tensor], rate: float) -> tuple[Tensor, float]:
    """Weights after a step on each batch, and the mean of the losses, each image counted once a batch."""
    (images, labels), model = _data(), _model()
    losses = []
    for part in batches:
        model.zero_grad()
        loss = F.cross_entropy(model(images[part]), labels[part], reduction="sum")
        (loss / len(part)).backward()
        losses.append(loss.item())
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.copy_(parameter - rate * parameter.grad)
    return _weights(model), sum(losses) / sum(map(len, batches))


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@check(
    hint="Two lines are missing: the loss of the images in this batch, and the step that moves a parameter. "
    "The section above has both, for one batch.",
    takes="model images labels learning_rate batch_size generator",
    gaps=2,
)
def sgd_epoch(attempt: Callable[..., object]) -> str:
    """An epoch of SGD."""
    (images, labels), model = _data(), _model()
    before = _weights(model)
    got = attempt(model, images, labels, _RATE, _BATCH, torch.Generator().manual_seed(5))
    after, (wanted, loss) = _weights(model), _expected(_RATE, _BATCH)
    moved = after - before

    def is_like(other: Tensor) -> bool:
        return torch.allclose(after, other, atol=_SAME)

    if not is_like(wanted):
        if not moved.any() and open_lines(attempt):
            near(
                *(got, _expected(0.0, _BATCH)[1]),
                within=1e-4,
                wrong="The step is still open, and the loss is not yet that of the images in the batch.",
            )
            raise Open("The loss is right; the step is still open.")
        if not moved.any():
            raise Wrong(
                "The model is the same afterwards. A step must change the parameter itself: "
                "`parameter = ...` only gives a new tensor that name."
            )
        if is_like(_expected(-_RATE, _BATCH)[0]):
            raise Wrong("The steps go uphill. Which sign does the rule of the step have?")
        if is_like(_expected(1.0, _BATCH)[0]):
            raise Wrong(
                "The steps have the whole length of the gradient. Where is the learning rate?"
            )
        if is_like(_after([torch.arange(_SAMPLES)] * 3, _RATE)[0]):
            raise Wrong("Each step looks at all images. It should look at those of its batch only.")
        if is_like(_expected(_RATE, _BATCH, torch.arange(_SAMPLES))[0]):
            raise Wrong("The images come in their old order. Take those that `batch` names.")
        raise Wrong(
            "The weights after the epoch are not those that plain SGD gives on the same batches. "
            "Look at the loss (which images, which labels?) and at the step (sign, learning rate)."
        )
    near(got, loss, within=1e-4, wrong="The weights are right; the mean loss of all images is not.")
    return (
        "Your weights agree with plain SGD on the same batches, and no image is left out. "
        "Shuffle, cut, step: this is all that a client does with private data."
    )


_STEPS = {
    31: "That is one epoch, and without its last batch.",
    31.25: "That is one epoch, and a step is a whole batch or a smaller one, never a quarter.",
    32: "That is one epoch. A round has ten.",
    310: "Ten epochs, yes. But 31 batches of 64 are 1,984 images, and none is left out.",
    312: "Batches are cut in each epoch anew: none goes on from one epoch into the next.",
    312.5: "Half a step? Batches are cut in each epoch anew, so count the batches of one epoch first.",
    313: "Batches are cut in each epoch anew: none goes on from one epoch into the next.",
    640: "Bob's steps are his own. Count Alice's.",
    960: "That is the whole project of three rounds. Count one round.",
    2_000: "That would be a step for each image. A step takes a whole batch.",
    20_000: "That would be a step for each image. A step takes a whole batch.",
}


@check(hint="First the batches of one epoch, the last one included, even if it is small.")
def steps_in_a_round(answer: object) -> str:
    """Steps in a round."""
    wrong = "Count the batches of one epoch (the last may be smaller), then take ten epochs."
    near(answer, 320, within=0, wrong=_STEPS.get(number(answer), wrong))
    return (
        "31 full batches and one of 16 images make 32 steps an epoch, 320 a round. "
        "All of them happen before anything is sent."
    )


_FACTS = {
    "a": "One of the files counts Alice's images.",
    "b": "No name of a digit stands in either file.",
    "c": "The loss of the last epoch stands beside the update.",
    "d": "One of the files says how long she has trained.",
    "e": "No image is in either file: you have seen every word of them, and an image has 784 pixels.",
}


@check(hint="Read what the cell above prints, and ask of each letter: does it stand there?")
def what_the_facts_tell(told: object) -> str:
    """What the facts tell."""
    told = plain(told)
    if isinstance(told, str):
        told = set(told) - set(" ,")
    if isinstance(told, set | frozenset | list | tuple):
        told = {letter.lower() if isinstance(letter, str) else letter for letter in told}
    if not isinstance(told, set) or not told <= set(_FACTS):
        raise Wrong("The answer should be a set of letters from a to e, each in quotes.")
    for letter in sorted(told ^ {"a", "c", "d"}):
        raise Wrong(_FACTS[letter])
    return (
        "A number of images, a loss, seconds: no digits, no images. "
        "The number will be Alice's weight in the average."
    )
