"""Rebuilding images by optimisation: look for images whose gradient is the one that was sent.

`match_gradient` is DLG (Zhu et al. 2019, "Deep leakage from gradients"): the squared distance of two gradients, by L-BFGS
with a strong Wolfe line search. `match_direction` is Geiping et al. 2020, "Inverting gradients": the angle between them
plus total variation, by signed Adam; it works for convolutions, where nothing can be divided. Both take the labels first
(`fedkit.privacy.attacks.labels`). A search always ends somewhere: where the gradient that it has reached is not near the
one that was sent, there is no answer. Where it is near, that speaks for the batch as a whole, and for no single pixel.
Notebook 08.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedkit.base.errors import FedkitError
from fedkit.config.task import DIGITS

__all__ = ["match_direction", "match_gradient"]


STIR = 0.02
"""Noise on the images between two descents: ReLU's kinks stop a line search, and a nudge leads out of them."""


def match_gradient(
    model: nn.Module,
    state: Mapping[str, Tensor],
    gradient: Mapping[str, Tensor],
    labels: Tensor,
    *,
    generator: torch.Generator,
    descents: int = 16,
    iterations: int = 50,
    within: float = 0.1,
    shape: Sequence[int] = DIGITS.shape,
) -> Tensor:
    """A batch of images with the given gradient: float64 [b, 1, 28, 28], or [b, *shape], in 0..1, in no order.

    min_x sum_l ||g_l(x) - g_l||^2 / sum_l ||g_l||^2   (Zhu et al. 2019, equation 4, labels known)

    state : the weights at which the gradient was taken. gradient : of the mean loss, by name; a one-step change divided by
    minus the learning rate. labels : int64 [b]. descents : of `iterations` steps of L-BFGS each; in between, the images are
    put back into 0..1 and stirred. within : the distance that the best point has to reach, else none is given, [0, *shape].
    Raises FedkitError unless `shape` is an image's.
    """
    _need_images(shape)
    parameters, target = _at(model := copy.deepcopy(model).double(), state, gradient)
    size = sum(float(part.square().sum()) for part in target)
    images = 0.1 * torch.rand(len(labels), *shape, generator=generator, dtype=torch.float64)
    best, lowest = images, float("inf")
    for number in range(descents):
        if number:
            stirred = torch.randn(images.shape, generator=generator, dtype=torch.float64)
            images = images.clamp(0, 1) + STIR * stirred
        images = images.detach().requires_grad_()
        search = torch.optim.LBFGS(
            [images],
            max_iter=iterations,
            history_size=30,
            line_search_fn="strong_wolfe",
            tolerance_grad=1e-14,
            tolerance_change=1e-16,
        )

        def distance(at: Tensor = images) -> Tensor:
            at.grad = None
            found = _gradient(model, parameters, at, labels)
            apart = [(a - b).square().sum() for a, b in zip(found, target, strict=True)]
            loss = torch.stack(apart).sum() / size
            loss.backward()
            return loss

        search.step(distance)
        reached = distance().item()
        if reached < lowest:
            best, lowest = images.detach().clamp(0, 1), reached
        if lowest < 1e-9:
            break
    return best if lowest <= within else best[:0]


def match_direction(
    model: nn.Module,
    state: Mapping[str, Tensor],
    gradient: Mapping[str, Tensor],
    labels: Tensor,
    *,
    generator: torch.Generator,
    steps: int = 1000,
    step_size: float = 0.1,
    smoothness: float = 0.01,
    within: float = 0.01,
    shape: Sequence[int] = DIGITS.shape,
) -> Tensor:
    """A batch of images with a gradient in the given direction: float32 [b, 1, 28, 28], or [b, *shape], in 0..1.

    min_x 1 - cos(g(x), g) + smoothness TV(x)   (Geiping et al. 2020, equation 4)

    As `match_gradient`, with TV the mean absolute difference of neighbouring pixels. Steps of Adam on the sign of
    the gradient; the step size falls tenfold after 3/8, 5/8 and 7/8 of them. within : what 1 - cos has to reach.
    """
    _need_images(shape)
    parameters, parts = _at(model := copy.deepcopy(model).float(), state, gradient)
    target = torch.cat([part.flatten() for part in parts])
    target = target / target.norm()
    images = torch.rand(len(labels), *shape, generator=generator).requires_grad_()
    adam = torch.optim.Adam([images], lr=step_size)
    falls = [steps * k // 8 for k in (3, 5, 7)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(adam, falls, gamma=0.1)
    for _ in range(steps):
        found = torch.cat([p.flatten() for p in _gradient(model, parameters, images, labels)])
        down = (images[..., 1:, :] - images[..., :-1, :]).abs().mean()
        across = (images[..., 1:] - images[..., :-1]).abs().mean()
        loss = 1 - found @ target / found.norm() + smoothness * (down + across)
        images.grad = torch.autograd.grad(loss, [images])[0].sign()
        adam.step()
        schedule.step()
        with torch.no_grad():
            images.clamp_(0, 1)
    found = torch.cat([p.flatten() for p in _gradient(model, parameters, images, labels)])
    reached = float((1 - found @ target / found.norm()).detach())
    return images.detach() if reached <= within else images.detach()[:0]


def _need_images(shape: Sequence[int]) -> None:
    if len(shape) != 3:
        raise FedkitError(
            f"{list(shape)} is no image's",
            field="shape",
            why="Images are looked for between blank and full ink, and other samples have no such ends",
            remedy="this attack needs images, [channels, height, width]",
        )


def _at(
    model: nn.Module, state: Mapping[str, Tensor], gradient: Mapping[str, Tensor]
) -> tuple[list[nn.Parameter], list[Tensor]]:
    """The model's parameters, set to the state, and the gradient in their order and type."""
    model.load_state_dict(dict(state))
    named = dict(model.named_parameters())
    return list(named.values()), [gradient[name].to(value.dtype) for name, value in named.items()]


def _gradient(
    model: nn.Module, parameters: Sequence[nn.Parameter], images: Tensor, labels: Tensor
) -> tuple[Tensor, ...]:
    loss = F.cross_entropy(model(images), labels)
    return torch.autograd.grad(loss, list(parameters), create_graph=True)
