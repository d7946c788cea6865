"""Checks for the exercises of the course: `fk.check.<exercise>(your_answer)`.

A check never breaks a notebook. It says "not yet" with a hint while the exercise is open, "try again" with what is
wrong, or "right" with the reason why. `base` is the framework; each `lesson_NN` holds the checks of one notebook.
"""

from __future__ import annotations

import importlib
import pkgutil

from fedkit.base.text import nearest
from fedkit.teaching.check.base import REGISTRY, Check, Result

__all__ = ["Check", "Result", "names"]


def names() -> list[str]:
    """The name of every exercise that has a check, sorted."""
    _load()
    return sorted(REGISTRY)


def __getattr__(name: str) -> Check:
    if name.startswith("_"):
        raise AttributeError(name)
    _load()
    if name in REGISTRY:
        return REGISTRY[name]
    near = nearest(name, REGISTRY)
    guess = f": did you mean fk.check.{near}?" if near else ""
    raise AttributeError(f"there is no check named {name!r}{guess}")


def __dir__() -> list[str]:
    return sorted([*__all__, *names()])


def _load() -> None:
    # at first use: the checks of a notebook may need much more than `import fedkit` should cost
    for module in pkgutil.iter_modules(__path__):
        if module.name.startswith("lesson_"):
            importlib.import_module(f"{__name__}.{module.name}")
