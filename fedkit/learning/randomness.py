"""What a model draws itself: initial weights, drop-out, noise. It draws from a generator of its own, in any thread.

torch takes such numbers from one generator that the whole process shares, so a cell that calls `torch.rand` while a
participant trains would change that participant's weights. Here every such operation gets our generator handed to it, as if
the author of the model had written `generator=`. Python's and NumPy's numbers can't be handed one: a model that draws those
can't be repeated, and is named.
"""

from __future__ import annotations

import copy
import pickle
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from fedkit.learning.device import place_of
from fedkit.learning.surroundings import surroundings_kept

__all__ = [
    "NOT_REPEATABLE",
    "OwnRandom",
    "draws",
    "is_repeatable",
    "lasts",
    "remember_draws",
    "unnoticed",
]


NOT_REPEATABLE = (
    "this model draws random numbers that are not torch's, so the same seed will not give the same bits; "
    "draw them with torch in forward()"
)
"""Said of a model that `is_repeatable` refuses."""


class OwnRandom(TorchDispatchMode):
    """As long as the block lasts, in this thread alone, what is drawn without a generator is drawn from this one.

    It may be entered again, and goes on where it was. seed : where it starts; the same numbers as after
    `torch.manual_seed(seed)`, on each device. drawn : how many operations have drawn.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)
        self._elsewhere = dict[torch.device, torch.Generator]()
        self.drawn = 0

    def _generator_on(self, place: torch.device) -> torch.Generator:
        if place.type == "cpu":
            return self.generator
        if place not in self._elsewhere:
            self._elsewhere[place] = torch.Generator(place).manual_seed(
                self.generator.initial_seed()
            )
        return self._elsewhere[place]

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Called for every operation of this thread."""
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.drawn += 1
            place, given = _place(args, kwargs), kwargs.get("generator")
            shared = _shared_generator(place)
            if place.type != "meta" and (given is None or given is shared):
                own, ours = self._generator_on(place), _with_generator(func)
                if ours is not None:
                    return ours(*args, **{**kwargs, "generator": own})
                if shared is not None and place.type != "cpu":  # there, each takes a generator
                    return _lent(shared, own, lambda: func(*args, **kwargs))
        return func(*args, **kwargs)


@lru_cache(maxsize=256)
def _with_generator(func: Any) -> Any:
    """The same operation with a place for a generator, None where there is no such thing."""
    wanted = [argument.name for argument in func._schema.arguments]
    if "generator" in wanted:
        return func
    packet = func.overloadpacket
    for other in (getattr(packet, name) for name in packet.overloads()):
        names = [argument.name for argument in other._schema.arguments]
        if "generator" in names and [name for name in names if name != "generator"] == wanted:
            return other
    return None


def _place(args: Any, kwargs: Any) -> torch.device:
    """Where an operation draws."""
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
    return next((t.device for t in tensors if t.device.type != "cpu"), torch.device("cpu"))


def _shared_generator(place: torch.device) -> torch.Generator | None:
    """The one generator of the whole process for this device, None where it can't be reached."""
    if place.type in ("cpu", "meta"):
        return torch.default_generator
    module = torch.get_device_module(place)
    generators = getattr(module, "default_generators", ())
    index = place.index if place.index is not None else module.current_device()
    return generators[index] if index < len(generators) else None


_ONE_AT_A_TIME = threading.Lock()


def _lent(shared: torch.Generator, own: torch.Generator, draw: Callable[[], Any]) -> Any:
    """Draw with an operation that takes no generator, such as drop-out on a GPU: `shared` stands where `own` does."""
    with _ONE_AT_A_TIME:
        before = shared.get_state()
        shared.set_state(own.get_state())
        try:
            return draw()
        finally:
            own.set_state(shared.get_state())
            shared.set_state(before)


def draws(model: nn.Module, images: Tensor) -> bool:
    """Does the model itself draw random numbers with torch?

    Tried on a copy: forward() may draw without any layer that shows it. Not tried where `remember_draws` was told.
    """
    if model in _KNOWN:
        return _KNOWN[model]
    chance = OwnRandom()
    try:
        _try(model, images, chance)
    except Exception:  # the training itself will say what is wrong
        return True
    return chance.drawn > 0


_KNOWN: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def remember_draws(model: nn.Module, answer: bool) -> nn.Module:
    """The model, of which `draws` gives this answer from now on, whatever it is given (see `learning/lasting.py`)."""
    _KNOWN[model] = answer
    return model


def lasts(model: nn.Module) -> bool:
    """Was `remember_draws` told of it: does it run the same operations whatever it is given, and remember nothing?"""
    return model in _KNOWN


@contextmanager
def unnoticed(seed: int = 0) -> Iterator[None]:
    """What this block draws with torch begins with `seed`; afterwards torch's, Python's and NumPy's own numbers, and
    torch's settings, are where they were."""
    pythons, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with surroundings_kept(), torch.random.fork_rng(devices=[]), OwnRandom(seed):
            yield
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)  # noqa: NPY002


def is_repeatable(model: nn.Module, images: Tensor) -> bool:
    """Do the same weights, images and seed give the same answers, and does nothing draw Python's or NumPy's numbers?

    Other threads may draw those too, so it is tried three times.
    """
    try:
        return any(_same(model, images) for _ in range(3))
    except Exception:  # the training itself will say what is wrong
        return True


def _same(model: nn.Module, images: Tensor) -> bool:
    before = _drawn_elsewhere()
    one, two = (_try(model, images, OwnRandom()) for _ in range(2))
    same = not isinstance(one, Tensor) or torch.equal(one.nan_to_num(), two.nan_to_num())
    return same and before == _drawn_elsewhere()


def _drawn_elsewhere() -> bytes:
    return pickle.dumps((random.getstate(), np.random.get_state()))  # noqa: NPY002


def _try(model: nn.Module, images: Tensor, chance: OwnRandom) -> Any:
    place = place_of(model)
    with surroundings_kept(), chance, torch.no_grad():
        return copy.deepcopy(model).train()(images[:2].to(place))
