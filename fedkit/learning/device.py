"""Where a model computes: on the processor, or on a GPU that somebody asked for."""

from __future__ import annotations

import torch
from torch import nn

from fedkit.base.errors import FedkitError

__all__ = ["find_device", "place_of"]


def find_device(name: str) -> torch.device:
    """The device of this name, such as "cpu", "cuda", "cuda:1" or "mps". Raises FedkitError where it can't be used."""
    try:
        place = torch.device(name)
        torch.empty(1, device=place).cpu()
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise FedkitError(
            f"{name!r} can't be used here",
            field="device",
            why=str(error).partition("\n")[0].rstrip("."),
            remedy='leave it out to train on the processor ("cpu")',
        ) from error
    return place


def place_of(model: nn.Module) -> torch.device:
    """Where the model's weights lie; the processor where it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))
