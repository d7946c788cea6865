"""Checks of notebook 03: an epoch of SGD, the steps of a round, and what the facts beside an update tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedkit.teaching.check.answers import listed, near, number, plain
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


def _after(
    batches: Sequence[Tensor],
    rate: float,
    *,
    divide: int = 0,
    twice: bool = False,
    piled: bool = False,
) -> tuple[Tensor, float]:
    """Weights after a step on each batch, and the mean of the losses, each image counted once a batch.

    Slips: divide : the loss of a batch is its sum, divided by this; twice : softmax before cross entropy; piled : gradients
    of all batches so far.
    """
    (images, labels), model = _data(), _model()
    losses = []
    for part in batches:
        if not piled:
            model.zero_grad()
        said = model(images[part])
        loss = F.cross_entropy(said.softmax(1) if twice else said, labels[part], reduction="sum")
        (loss / (divide or len(part))).backward()
        losses.append(loss.item())
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.copy_(parameter - rate * parameter.grad)
    return _weights(model), sum(losses) / sum(map(len, batches))


def _is_loss_of_batch(attempt: Callable[..., object]) -> bool:
    """While the step is open: is the loss right, and has the model seen each image once?"""
    (images, labels), model, seen = _data(), _model(), list[int]()
    model.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    got = attempt(model, images, labels, _RATE, _BATCH, torch.Generator().manual_seed(5))
    if not seen:
        raise Open  # the loss is not there yet
    return abs(number(got) - _expected(0.0, _BATCH)[1]) < 1e-4 and sum(seen) == _SAMPLES


def _others() -> Iterator[tuple[Tensor, str]]:
    """What weights come from usual slips, and what the slip is."""
    order = torch.randperm(_SAMPLES, generator=torch.Generator().manual_seed(5))
    batches = order.split(_BATCH)
    whole, hasty = (
        batches[:-1],
        "Each step is divided by the batch size once more; the loss is a mean already.",
    )
    yield (
        _after(batches, _RATE, divide=1)[0],
        "The loss is the sum over the batch. A step follows its mean.",
    )
    yield _after(batches, _RATE / _BATCH)[0], hasty
    yield _rates([_RATE / len(part) for part in batches], batches), hasty
    yield (
        _after(batches, _RATE, twice=True)[0],
        "Cross entropy takes logits: its softmax is in it already.",
    )
    yield (
        _after(batches, _RATE, piled=True)[0],
        "Gradients of earlier batches are still in each step.",
    )
    yield _after(whole, _RATE)[0], "The last batch, a smaller one, is left out."
    yield (
        _after([torch.arange(_BATCH)] * 3, _RATE)[0],
        "Each step has the same first images. Take those that `batch` names.",
    )
    for own in (0.1, 0.01, 0.001):
        yield (
            _after(batches, own)[0],
            f"The steps have a rate of {own}, and {_RATE} came in as learning_rate.",
        )


def _rates(rates: Sequence[float], batches: Sequence[Tensor]) -> Tensor:
    """Weights after a step on each batch with a rate of its own."""
    (images, labels), model = _data(), _model()
    for part, rate in zip(batches, rates, strict=True):
        loss = F.cross_entropy(model(images[part]), labels[part])
        parameters = list(model.parameters())
        with torch.no_grad():
            for parameter, slope in zip(
                parameters, torch.autograd.grad(loss, parameters), strict=True
            ):
                parameter.sub_(rate * slope)
    return _weights(model)


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
            if not _is_loss_of_batch(attempt):
                raise Wrong(
                    "The step is still open, and the loss is not yet that of the images in the batch.",
                    sure=True,
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
        for other, wrong in _others():
            if is_like(other):
                raise Wrong(wrong)
        again = _model()
        attempt(again, images, labels, _RATE, _BATCH, torch.Generator().manual_seed(5))
        if not torch.allclose(_weights(again), after, atol=_SAME):
            raise Wrong(
                "The same call gives other weights each time. Is the order drawn with `generator`?"
            )
        raise Wrong(
            "The weights after the epoch are not those that plain SGD gives on the same batches. "
            "Look at the loss (which images, which labels?) and at the step (sign, learning rate)."
        )
    near(
        *(got, loss),
        within=1e-4,
        wrong="The weights are right; the mean loss of all images is not: a smaller batch counts for fewer of them.",
    )
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
    96: "That is one epoch in each of three rounds. Count one round of ten epochs.",
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


_LETTERS = "The answer should be a set of letters from a to e, each in quotes."


@check(hint="Read what the cell above prints, and ask of each letter: does it stand there?")
def what_the_facts_tell(told: object) -> str:
    """What the facts tell."""
    told = listed(plain(told))
    if isinstance(told, str):
        told = set(told) - set(" ,;")
    if not isinstance(told, set | frozenset | list | tuple):
        raise Wrong(_LETTERS)
    told = {letter.lower().strip(" .,)(") if isinstance(letter, str) else "?" for letter in told}
    if not told <= set(_FACTS):
        raise Wrong(_LETTERS)
    for letter in sorted(told ^ {"a", "c", "d"}):
        raise Wrong(_FACTS[letter])
    return (
        "A number of images, a loss, seconds: no digits, no images. "
        "The number will be Alice's weight in the average."
    )
