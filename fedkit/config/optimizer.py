"""The key `"optimizer"` of `fl_config.json`: what takes the steps of local training, in the place of plain SGD.

    "optimizer": {"name": "adamw", "weight_decay": 0.05, "clip_norm": 1.0}

The names and what they mean are torch's (`torch.optim.SGD`, `Adam`, `AdamW`); the step size is the config's learning_rate.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    model_validator,
)

from fedkit.config.limits import within
from fedkit.config.part import NamedPart

__all__ = ["Optimizer"]


_COMMON = ("weight_decay", "clip_norm")
_OF = {
    "sgd": ("momentum", "dampening", "nesterov", *_COMMON),
    "adam": ("betas", "eps", *_COMMON),
    "adamw": ("betas", "eps", *_COMMON),
}
"""Name -> its parameters."""

_PLAIN_STEPS = {
    "scaffold": "its control variates are mean gradients, (x - y) / (K eta), and that is one after plain steps of SGD only "
    "(Karimireddy et al. 2020, option II)",
    "fednova": "it divides each change by the number of its steps, which is right for plain SGD only: with another "
    "optimizer steps count differently (Wang et al. 2020, section 4)",
}
"""Strategies whose theory knows plain SGD only, and why. The others take whatever training sends: FedAvg and the server
optimisers with any local one (Reddi et al. 2021, algorithm 1), FedProx with any local solver (Li et al. 2020), the robust
rules because they look at updates alone."""

Beta = Annotated[float, BeforeValidator(within("betas"))]


class Optimizer(NamedPart):
    """What takes the steps of local training. Frozen; the defaults are torch's.

    name : "sgd", "adam" (Kingma & Ba 2015) or "adamw" (Loshchilov & Hutter 2019).
    momentum, dampening, nesterov : of sgd. betas, eps : of adam and adamw.
    weight_decay : default 0, for adamw 0.01; sgd and adam add it to the gradient, adamw shrinks the weights by it.
    clip_norm : the largest L2 norm of a step's whole gradient, to which a larger one is cut; None for any. What FedProx
        adds to a gradient is cut with it.

    Its memory (momentum, moments) starts anew in each round at each participant, and lasts through the local epochs.
    """

    example = "adam"

    name: Literal["sgd", "adam", "adamw"]
    momentum: Annotated[float, BeforeValidator(within("momentum"))] = 0.0
    dampening: Annotated[float, BeforeValidator(within("dampening"))] = 0.0
    nesterov: Annotated[bool, Field(strict=True)] = False
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    eps: Annotated[float, BeforeValidator(within("eps"))] = 1e-8
    weight_decay: Annotated[float, BeforeValidator(within("weight_decay"))] | None = None
    clip_norm: Annotated[float, BeforeValidator(within("clip_norm"))] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        known = _OF[self.name]
        for key in sorted(self.model_fields_set - {"name"}):
            if key not in known:
                raise ValueError(f"{key}: {self.name} has none; it has {', '.join(known)}")
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                "nesterov: looks ahead along the momentum, undampened; "
                "write a momentum above 0 and no dampening, or leave it out"
            )
        return self

    @property
    def options(self) -> dict[str, Any]:
        """What torch's optimizer of this name takes beside parameters and `lr`."""
        default = 0.01 if self.name == "adamw" else 0.0
        decay = default if self.weight_decay is None else self.weight_decay
        own = {key: getattr(self, key) for key in _OF[self.name] if key not in _COMMON}
        return {**own, "weight_decay": decay}

    @property
    def plain(self) -> bool:
        """Are its steps those of plain SGD, w <- w - eta g?"""
        tuned = self.momentum or self.weight_decay or self.clip_norm
        return self.name == "sgd" and not tuned

    def misfit(self, config: Any) -> str | None:
        """Why the rest of its config, an `FLConfig`, does not go with it, as "field: what; remedy", or None."""
        strategy = str((config.strategy or {}).get("name", "fedavg"))
        if strategy in _PLAIN_STEPS and not self.plain:
            return (
                f"optimizer: does not go with {strategy}: {_PLAIN_STEPS[strategy]}; "
                "leave it out, or choose another strategy"
            )
        if config.dp is not None and config.dp.unit == "example" and self.clip_norm is not None:
            return (
                "optimizer.clip_norm: would cut a sum of gradients that dp.clip has cut one by one, and whose noise "
                "would be cut with it; leave it out"
            )
        return None
