"""What an answer should be: a number, a tensor, a yes or no, with numpy's and torch's values taken like Python's own."""

from __future__ import annotations

import itertools
import math
import numbers
import reprlib
from collections.abc import Iterator, KeysView, ValuesView
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fedkit.teaching.check.attempt import Wrong

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["listed", "near", "number", "plain", "shown", "tensor", "truth"]


def number(answer: object) -> float:
    """The answer as a finite float; a tensor or array of one number will do. Raises Wrong for anything else."""
    kind, value = type(answer).__name__, plain(answer)
    while isinstance(value, list) and len(value) == 1 and not isinstance(answer, list):
        value = value[0]
    if isinstance(value, str):
        raise Wrong(
            "The answer should be one number; yours is a text. A number stands without quotes."
        )
    try:
        if isinstance(value, bool):
            raise TypeError
        found = float(value)
    except OverflowError:
        raise Wrong(
            "The answer should be a number of a sane size; yours is far too large."
        ) from None
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(
            f"The answer should be one number; yours is of type {kind}{_form(answer)}."
        ) from None
    if not math.isfinite(found):
        raise Wrong(f"The answer should be a finite number; yours is {found}.")
    return found


def _form(answer: object) -> str:
    shape = getattr(answer, "shape", None)
    return f" and has the shape {list(shape)}" if isinstance(shape, tuple) else ""


def near(answer: object, target: float, *, within: float, wrong: str) -> None:
    """Raises `Wrong(wrong)` unless the answer is a number at most `within` away from `target` (same unit)."""
    if abs(number(answer) - target) > within:
        raise Wrong(wrong)


def truth(answer: object) -> bool:
    """The answer as True or False. Raises Wrong for anything else, such as 1 or "yes"."""
    value = plain(answer)
    if not isinstance(value, bool):
        raise Wrong(
            f"The answer should be True or False; yours is of type {type(answer).__name__}."
        )
    return value


def tensor(answer: object, *, wrong: str) -> Tensor:
    """The answer as a tensor; a numpy array or a list of numbers will do. Raises `Wrong(wrong)` for anything else."""
    import numpy as np  # here, since most checks need neither
    import torch

    answer = listed(answer)
    if isinstance(answer, torch.Tensor):
        return answer.detach()
    if not (isinstance(answer, list | tuple) or hasattr(answer, "__array__")):
        raise Wrong(wrong)
    try:
        if isinstance(answer, list | tuple) and all(isinstance(v, torch.Tensor) for v in answer):
            return torch.stack([v.detach() for v in answer]) if answer else torch.empty(0)
        array = np.array(answer, order="C")
        if array.dtype == object and all(
            isinstance(n, numbers.Number | Decimal) for n in array.flat
        ):
            array = array.astype(np.float64)  # fractions and decimals
        return torch.as_tensor(array)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(wrong) from None


def listed(answer: object) -> object:
    """The items of a generator, a map, or a dict's keys or values, as a list; anything else as it is."""
    if not isinstance(answer, Iterator | KeysView | ValuesView):
        return answer
    items = list(itertools.islice(answer, _MOST + 1))
    if len(items) > _MOST:
        raise Wrong("What comes back has no end. Does each loop in it come to one?")
    return items


_MOST = 1_000_000


def plain(value: object) -> Any:
    """numpy's and torch's scalars and arrays as Python's numbers and lists, in dicts, lists and sets too; else as it is."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(map(plain, value)) if type(value) in _PLAIN else value
    if type(value).__module__.split(".")[0] in ("numpy", "torch", "pandas"):
        listed = getattr(value, "tolist", None)
        if listed is not None:
            return listed()
    return value


_PLAIN = (list, tuple, set, frozenset)


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 80
        self.maxlist = self.maxtuple = self.maxset = self.maxdict = 6


def shown(value: object) -> str:
    """What a message shows of an answer: a line, however large the answer is."""
    try:
        return " ".join(_Short().repr(value).split())[:120]
    except Exception:  # a __repr__ of the learner's own
        return f"of type {type(value).__name__}"
