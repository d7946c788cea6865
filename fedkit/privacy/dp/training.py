"""Local training that keeps a promise: DP-SGD for images, a clipped update with its share of noise for participants.

DP-SGD (Abadi et al. 2016, "Deep learning with differential privacy", algorithm 1): every image enters a step with
probability q on its own (Poisson sampling, as the accountant assumes); its gradient is cut to norm C; the sum gets
Gaussian noise. The gradients of single images, their clipping and the noise are Opacus' (Yousefpour et al. 2021).
Notebook 09.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedkit.base.errors import FedkitError, Stopped
from fedkit.base.seeds import global_random
from fedkit.config.fl_config import FLConfig
from fedkit.data.shards import Shard
from fedkit.learning.models import StateDict, state_of
from fedkit.learning.strategies.base import Around
from fedkit.learning.training import Trainer, draws, train
from fedkit.privacy.dp.clip import share_of_noise
from fedkit.privacy.dp.mechanism import (
    example_mechanism,
    participant_mechanism,
    promised,
    steps_per_epoch,
)
from fedkit.privacy.dp.noise import Noise, SeededNoise, noise_source

__all__ = ["PrivateTraining", "dp_sgd"]


@dataclass(frozen=True)
class PrivateTraining(Around):
    """A strategy whose participants add the noise: to single images' gradients, or each its share to its update."""

    config: FLConfig

    @property
    def quiet(self) -> bool:
        """No noise covers loss and time."""
        return True

    def trainer(self, who: str, n: int) -> Trainer:
        """What the config's `dp` makes of `train`, called in the same way."""
        dp, seed = promised(self.config), self.config.seed
        noise = noise_source(dp.secure_noise, seed, who, n, "dp noise")
        if dp.unit == "participant":
            return partial(self._add_share, noise=noise)
        sample = noise_source(dp.secure_noise, seed, who, n, "dp sample")
        return partial(self._protect_images, noise=noise, sample=sample)

    def _add_share(
        self,
        model: nn.Module,
        state: Mapping[str, Tensor],
        shard: Shard,
        *,
        noise: Noise,
        **ordinary: Any,
    ) -> tuple[StateDict, list[float]]:
        """Ordinary training, then this participant's share of the noise on what it sends."""
        trained, losses = train(model, state, shard, **ordinary)
        sigma = participant_mechanism(self.config).noise_multiplier
        clip, shares = promised(self.config).clip, self.config.quorum
        return share_of_noise(state, trained, clip, sigma, shares, noise), losses

    def _protect_images(
        self,
        model: nn.Module,
        state: Mapping[str, Tensor],
        shard: Shard,
        *,
        noise: Noise,
        sample: Noise,
        batch_size: int,
        generator: torch.Generator,
        shift: Mapping[str, Tensor] | None = None,
        **ordinary: Any,
    ) -> tuple[StateDict, list[float]]:
        """DP-SGD with the steps and the noise that the config's promise asks for."""
        assert not shift  # a config that asks for both is refused
        return dp_sgd(
            model,
            state,
            shard,
            steps=steps_per_epoch(self.config, len(shard[1])),
            clip=promised(self.config).clip,
            noise_multiplier=example_mechanism(self.config, len(shard[1])).noise_multiplier,
            noise=noise,
            sample=sample,
            own_randomness=int(torch.randint(2**62, (1,), generator=generator)),
            **ordinary,
        )


def dp_sgd(
    model: nn.Module,
    state: Mapping[str, Tensor],
    shard: Shard,
    *,
    epochs: int,
    steps: int,
    learning_rate: float,
    clip: float,
    noise_multiplier: float,
    noise: Noise,
    sample: Noise,
    own_randomness: int = 0,
    on_epoch: Callable[[int, float], None] | None = None,
    stop: Callable[[], bool] | None = None,
    mu: float = 0.0,
) -> tuple[StateDict, list[float]]:
    """`epochs` times `steps` steps of DP-SGD from `state`; returns the weights, and each epoch's mean loss (without noise).

    w <- w - eta (1 / (q N)) (sum_i clip(grad l_i) + N(0, (sigma C)^2)),  each i with probability q = 1 / steps

    shard : images float32 [N,1,28,28], labels int64 [N]. sample, noise : where the two kinds of chance come from.
    own_randomness : seeds what the model itself draws, such as drop-out. mu : as for `train`.
    Raises FedkitError for a model in which images of a batch meet (batch normalisation), Stopped as `train` does.
    """
    images, labels = shard
    model.load_state_dict(dict(state))
    anchors = [p.detach().clone() for p in model.parameters() if p.requires_grad]
    rate, losses = 1 / steps, []
    chance = global_random(own_randomness) if draws(model, images) else nullcontext()
    with chance, _per_image(model, images) as watched:
        optimizer = _optimizer(
            model, learning_rate, clip, noise_multiplier, rate * len(labels), noise
        )

        def pull(_: Any) -> None:  # FedProx's term knows no image: it needs no noise
            for p, anchor in zip(optimizer.params, anchors, strict=True):
                p.grad.add_(p.detach() - anchor, alpha=mu)

        if mu:
            optimizer.attach_step_hook(pull)
        for epoch in range(1, epochs + 1):
            watched.train()
            total, seen = 0.0, 0
            for _ in range(steps):
                if stop is not None and stop():
                    raise Stopped
                batch = (sample.uniform(len(labels)) < rate).nonzero().flatten()
                optimizer.zero_grad(set_to_none=True)
                inputs = images[batch].requires_grad_()  # else torch warns about Opacus' hooks
                loss = F.cross_entropy(watched(inputs), labels[batch], reduction="sum")
                loss.backward()
                optimizer.step()
                total, seen = total + loss.item(), seen + len(batch)
            losses.append(total / max(seen, 1))
            if on_epoch is not None:
                on_epoch(epoch, losses[-1])
    return state_of(model), losses


@contextmanager
def _per_image(model: nn.Module, images: Tensor) -> Iterator[nn.Module]:
    """The model, with each image's own gradient kept in `grad_sample`. Raises FedkitError where there is no such thing."""
    from opacus import GradSampleModule  # more than a second's import, for those who need it

    probe = images[:2]
    with global_random(), torch.no_grad():
        tried = copy.deepcopy(model).eval()
        apart = torch.cat([tried(image[None]) for image in probe])
        if not torch.allclose(tried(probe), apart, rtol=1e-3, atol=1e-4):
            raise _mixes("what one image gives depends on the others in its batch")
    try:
        watched = GradSampleModule(model, loss_reduction="sum")
    except NotImplementedError as error:
        raise _mixes(str(error)) from error
    try:
        yield watched
    finally:
        watched.to_standard_module()


def _mixes(why: str) -> FedkitError:
    return FedkitError(
        "has no gradient for a single image",
        field="model_arch",
        why=" ".join(why.split())[:300].rstrip("."),
        remedy="take a model without batch normalisation (group normalisation is fine)",
    )


def _optimizer(
    model: nn.Module,
    learning_rate: float,
    clip: float,
    noise_multiplier: float,
    expected: float,
    noise: Noise,
) -> Any:
    """Opacus' optimiser over plain SGD; from the operating system's noise where that is asked for."""
    from opacus.optimizers import DPOptimizer

    class FromNoise(DPOptimizer):  # type: ignore[misc]
        """Takes its noise from a `Noise` instead of a torch generator."""

        def add_noise(self) -> None:
            for p in self.params:
                std = self.noise_multiplier * self.max_grad_norm
                p.grad = p.summed_grad + noise.normal(p.shape, std).to(p.dtype)

    parameters = [p for p in model.parameters() if p.requires_grad]
    generator = noise.generator if isinstance(noise, SeededNoise) else None
    return (FromNoise if generator is None else DPOptimizer)(
        optimizer=torch.optim.SGD(parameters, lr=learning_rate),
        noise_multiplier=noise_multiplier,
        max_grad_norm=clip,
        expected_batch_size=expected,
        loss_reduction="mean",
        generator=generator,
    )
