"""Local training that keeps a promise: DP-SGD for images, a clipped update with its share of noise for participants.

DP-SGD (Abadi et al. 2016, "Deep learning with differential privacy", algorithm 1): every image enters a step with
probability q on its own (Poisson sampling, as the accountant assumes); its gradient is cut to norm C; the sum gets
Gaussian noise. The gradients of single images, their clipping and the noise are Opacus' (Yousefpour et al. 2021).
Notebook 09.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedkit.base.distribution import need_privacy
from fedkit.base.errors import FedkitError, Stopped
from fedkit.config.fl_config import FLConfig
from fedkit.config.optimizer import Optimizer
from fedkit.data.shards import Shard
from fedkit.learning.device import place_of
from fedkit.learning.judging import Criterion
from fedkit.learning.models import StateDict, buffer_names, state_of
from fedkit.learning.randomness import OwnRandom, draws, lasts
from fedkit.learning.strategies.base import Around
from fedkit.learning.training import Trainer, optimizer_of, train
from fedkit.privacy.dp.clip import share_of_noise
from fedkit.privacy.dp.grid import grid_optimizer, masked_share
from fedkit.privacy.dp.mechanism import (
    example_mechanism,
    participant_mechanism,
    promised,
    shares_of_noise,
    steps_per_epoch,
)
from fedkit.privacy.dp.noise import Noise, SeededNoise, SystemNoise, noise_source

__all__ = ["PrivateTraining", "dp_sgd"]

_TRIALS = 2
"""So often a model that lasts is tried with a participant's images: once before and once after noise has moved it."""
_APART = WeakSet[nn.Module]()
"""Models in which, as is known, the images that they are trained on now do not meet."""


@dataclass(frozen=True)
class PrivateTraining(Around):
    """A strategy whose participants add the noise: to single images' gradients, or each its share to its update."""

    config: FLConfig
    tried: Counter[str] = field(default_factory=Counter[str], compare=False, repr=False)
    """Whose samples were found to keep apart in the model, and how often."""

    @property
    def quiet(self) -> bool:
        """No noise covers loss and time."""
        return True

    @property
    def hides_counts(self) -> bool:
        """Yes, of whole participants. An image that contributes nothing leaves both as they are."""
        return promised(self.config).unit == "participant"

    @property
    def keeps_buffers(self) -> bool:
        """Yes: what passes through them passes by the noise."""
        return True

    def trainer(self, who: str, n: int) -> Trainer:
        """What the config's `dp` makes of `train`, called in the same way."""
        dp, seed = promised(self.config), self.config.seed
        noise = noise_source(dp.secure_noise, seed, who, n, "dp noise")
        if dp.unit == "participant":
            return partial(self._add_share, noise=noise)
        sample = noise_source(dp.secure_noise, seed, who, n, "dp sample")
        return partial(self._protect_images, noise=noise, sample=sample, who=who)

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
        state, trained = ({k: v.cpu() for k, v in s.items()} for s in (state, trained))
        trained |= {name: state[name] for name in buffer_names(model)}  # of the norm no part
        sigma = participant_mechanism(self.config).noise_multiplier
        clip, shares = promised(self.config).clip, shares_of_noise(self.config)
        if isinstance(noise, SystemNoise) and self.config.secure_aggregation is not None:
            most = len(self.config.participants)
            return masked_share(state, trained, clip, sigma, shares, noise, most), losses
        return share_of_noise(state, trained, clip, sigma, shares, noise), losses

    def _protect_images(
        self,
        model: nn.Module,
        state: Mapping[str, Tensor],
        shard: Shard,
        *,
        noise: Noise,
        sample: Noise,
        who: str,
        batch_size: int,
        generator: torch.Generator,
        shift: Mapping[str, Tensor] | None = None,
        **ordinary: Any,
    ) -> tuple[StateDict, list[float]]:
        """DP-SGD with the steps and the noise that the config's promise asks for.

        Whether images meet in the model is tried twice for a participant where the model is known to last: the second time
        no weight is 0 any more, and nothing hides behind one. Any other model is tried in every round.
        """
        assert not shift  # a config that asks for both is refused
        known = lasts(model) and self.tried[who] >= _TRIALS
        (_APART.add if known else _APART.discard)(model)
        trained = dp_sgd(
            model,
            state,
            shard,
            steps=steps_per_epoch(self.config, len(shard[1])),
            clip=promised(self.config).clip,
            noise_multiplier=example_mechanism(self.config, len(shard[1])).noise_multiplier,
            noise=noise,
            sample=sample,
            own_randomness=_of_model(noise, generator),
            **ordinary,
        )
        _APART.discard(model)
        self.tried[who] += 1
        return trained


def _of_model(noise: Noise, generator: torch.Generator) -> int:
    """What seeds a model's own chance. A seed that is known would tell which image got which drop-out mask, and one image
    more moves all others' masks: where noise is meant, it is a secret too."""
    if isinstance(noise, SystemNoise):
        return int(noise.words(1)[0])
    return int(torch.randint(2**62, (1,), generator=generator))


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
    loss_of: Criterion = F.cross_entropy,
    optimizer: Optimizer | None = None,
) -> tuple[StateDict, list[float]]:
    """`epochs` times `steps` steps of DP-SGD from `state`; returns the weights, and each epoch's mean loss (without noise).

    w <- w - eta (1 / (q N)) (sum_i clip(grad l_i) + N(0, (sigma C)^2)),  each i with probability q = 1 / steps

    shard : images float32 [N,1,28,28], labels int64 [N]. sample, noise : where the two kinds of chance come from.
    A step into which no image is drawn moves the weights by its noise alone.
    own_randomness : seeds what the model itself draws, such as drop-out. mu : as for `train`. optimizer : what makes a step
    of the noised gradient, None for the line above; it sees nothing else, so the promise is the same.
    Buffers come back as they came: they are calculated from images, and no noise covers them.
    Raises FedkitError for a model in which images meet, in a batch (batch normalisation) or by what the model remembers of
    an earlier one, Stopped as `train` does.
    """
    images, labels = shard
    model.load_state_dict(dict(state))
    buffers = {name: value.detach().clone() for name, value in model.named_buffers()}

    def forget() -> None:
        """What one step's images left in a buffer reaches neither the next step nor the update."""
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(buffers[name])

    anchors = [p.detach().clone() for p in model.parameters() if p.requires_grad]
    rate, losses = 1 / steps, []
    chance = OwnRandom(own_randomness) if draws(model, images) else nullcontext()
    with _per_image(model, images) as watched:
        private = _private(
            model,
            optimizer_of(optimizer or Optimizer(name="sgd"), model, learning_rate),
            *(clip, noise_multiplier, rate * len(labels), noise),
        )

        def pull(_: Any) -> None:  # FedProx's term knows no image: it needs no noise
            for p, anchor in zip(private.params, anchors, strict=True):
                p.grad.add_(p.detach() - anchor, alpha=mu)

        if mu:
            private.attach_step_hook(pull)
        for epoch in range(1, epochs + 1):
            watched.train()
            total, seen = 0.0, 0
            for _ in range(steps):
                if stop is not None and stop():
                    raise Stopped
                batch = (sample.uniform(len(labels)) < rate).nonzero().flatten()
                private.zero_grad(set_to_none=True)
                alone = isinstance(noise, SystemNoise)  # in a batch, last bits depend on its size
                for part in batch.split(1 if alone else max(len(batch), 1)):
                    if not len(part):  # many a model can't take no sample at all
                        continue
                    inputs = images[part]
                    if (
                        inputs.is_floating_point()
                    ):  # a gradient, else torch warns about Opacus' hooks;
                        inputs = (
                            inputs.requires_grad_().clone()
                        )  # a copy, for models that write into it
                    with chance:
                        loss = loss_of(watched(inputs), labels[part], reduction="sum")
                    loss.backward()
                    total, seen = total + loss.item(), seen + len(part)
                    if alone:
                        private.add()
                        forget()
                for p in private.params:
                    if p.grad_sample is None:  # no image was drawn, or none of them used it
                        p.grad_sample = p.new_zeros(0 if alone else len(batch), *p.shape)
                private.step()
                forget()
            losses.append(total / max(seen, 1))
            if on_epoch is not None:
                on_epoch(epoch, losses[-1])
    return state_of(model), losses


@contextmanager
def _per_image(model: nn.Module, images: Tensor) -> Iterator[nn.Module]:
    """The model, with each image's own gradient kept in `grad_sample`. Raises FedkitError where there is no such thing."""
    need_privacy()
    from opacus import GradSampleModule  # more than a second's import, for those who need it

    if model not in _APART:
        _try_apart(model, images)
    try:
        watched = GradSampleModule(model, loss_reduction="sum")
    except NotImplementedError as error:
        raise _mixes(str(error)) from error
    try:
        yield watched
    finally:
        watched.to_standard_module()


def _try_apart(model: nn.Module, images: Tensor) -> None:
    """Raises FedkitError where images meet in the model."""
    probe = images[:2]
    with OwnRandom(), torch.no_grad():
        apart = torch.cat([copy.deepcopy(model).eval()(image[None]) for image in probe])
        if not torch.allclose(copy.deepcopy(model).eval()(probe), apart, rtol=1e-3, atol=1e-4):
            raise _mixes("what one image gives depends on the others in its batch")
    met = _where_images_meet(model, images)
    if met is not None:
        raise _mixes(met)


def _where_images_meet(model: nn.Module, images: Tensor) -> str | None:
    """How the answer for one image depends on others while the model trains; None where no trial shows that it does.

    Row k of a batch is held, all others are replaced, and what the model draws stays the same: its answer may not move.
    Nor may it where the model has seen another batch before, all buffers put back. The made-up images hold what any task
    can hold, 0 and 1, and for floating point numbers what lies between.
    """
    random = torch.Generator().manual_seed(0)
    shape = (6, *images.shape[1:])
    pools = [torch.randint(0, 2, shape, generator=random)]
    if images.is_floating_point():
        pools.append(torch.rand(shape, generator=random))
    mine = images[:6]
    pools = [pool.to(images) for pool in pools] + [mine] * (len(mine) > 1)
    for pool in pools:
        for count in {2, len(pool) // 2} - {0, 1}:
            one, other = pool[:count], pool[-count:].flip(0)
            alone = _answers(model, one)
            for k in (0, count - 1):
                mixed = other.clone()
                mixed[k] = one[k]
                if not _alike(alone[k], _answers(model, mixed)[k]):
                    return "in train mode, what one image gives depends on the others in its batch"
        if not _alike(alone, _answers(model, one, after=other)):
            return "in train mode, what an image gives depends on images that the model saw before"
    return None


def _alike(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-5, atol=1e-6, equal_nan=True)


def _answers(model: nn.Module, batch: Tensor, after: Tensor | None = None) -> Tensor:
    """Of a copy in train mode, whose own random numbers are always the same. after : what it sees before."""
    tried = copy.deepcopy(model).train()
    with torch.no_grad():
        if after is not None:
            kept = [value.clone() for value in tried.buffers()]
            with OwnRandom():
                tried(after.clone())
            for value, before in zip(tried.buffers(), kept, strict=True):
                value.copy_(before)
        with OwnRandom():
            answer: Tensor = tried(batch.clone())
    return answer


def _mixes(why: str) -> FedkitError:
    return FedkitError(
        "has no gradient for a single image",
        field="model_arch",
        why=" ".join(why.split())[:300].rstrip("."),
        remedy="take a model without batch normalisation (group normalisation is fine), and without a mean, a maximum or "
        "the like over the batch",
    )


def _private(
    model: nn.Module,
    steps: torch.optim.Optimizer,
    clip: float,
    noise_multiplier: float,
    expected: float,
    noise: Noise,
) -> Any:
    """Opacus' optimiser around torch's, which sees noised gradients only. noise : seeded, or the system's, on the grid."""
    need_privacy()
    from opacus.optimizers import DPOptimizer

    class FromNoise(DPOptimizer):  # type: ignore[misc]
        """Takes its noise from a `Noise` instead of a torch generator."""

        def add_noise(self) -> None:
            for p in self.params:
                drawn = noise.normal(p.shape, self.noise_multiplier * self.max_grad_norm)
                p.grad = p.summed_grad + drawn.to(p)

    at_home = place_of(model).type == "cpu"  # where torch's generator can draw
    generator = noise.generator if isinstance(noise, SeededNoise) and at_home else None
    kind = FromNoise if generator is None else DPOptimizer
    if isinstance(noise, SystemNoise):
        kind = grid_optimizer(noise)
    return kind(
        optimizer=steps,
        noise_multiplier=noise_multiplier,
        max_grad_norm=clip,
        expected_batch_size=expected,
        loss_reduction="mean",
        generator=generator,
    )
