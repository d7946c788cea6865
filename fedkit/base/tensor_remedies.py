"""What usually lies where weights or samples belong, and the line of Python that makes the right file of it.

Each remedy ends with that line, after a colon; `path` in it is the file, and torch is imported. Nothing here runs it, and
nothing in the file ever runs.
"""

from __future__ import annotations

import re

from fedkit.base.tensor_pickle import PickledTensor

__all__ = ["FROM_SAFETENSORS", "TENSORS_OF_A_PAIR", "TENSORS_OF_A_STATE", "of_pair", "of_state"]


FROM_SAFETENSORS = "from safetensors.torch import load_file; torch.save(load_file(path), path)"
TENSORS_OF_A_STATE = "save tensors only, with torch.save(model.state_dict(), path)"
TENSORS_OF_A_PAIR = (
    "save two tensors only, with torch.save((images, labels), path): of a TensorDataset dataset.tensors, "
    "of an array torch.from_numpy(array)"
)
"""Where something is in the file that could run."""

_LOADED = "torch.load(path, weights_only=True)"


def of_state(value: object) -> str | None:
    """For a checkpoint, which keeps the state dict beside other things."""
    for name, part in value.items() if isinstance(value, dict) else ():
        plain = type(name) is str and re.fullmatch(r"\w{1,40}", name, re.ASCII)
        tensors = part.values() if isinstance(part, dict) else ()
        if plain and tensors and all(type(tensor) is PickledTensor for tensor in tensors):
            line = f'torch.save({_LOADED}["{name}"], path)'
            return f"it is a checkpoint, and its {name!r} is the state dict: {line}"
    return None


def of_pair(value: object) -> str | None:
    """For a dict of two tensors, and for a list of samples, each with its label."""
    if isinstance(value, dict) and len(value) == 2:
        (_, samples), (name, labels) = value.items()
        if type(samples) is type(labels) is PickledTensor and "label" in str(name):
            return f"save its two values: torch.save(tuple({_LOADED}.values()), path)"
    pairs = value if type(value) is list else []
    if pairs and all(
        type(one) is tuple and [type(part) for part in one] == [PickledTensor, int] for one in pairs
    ):
        return (
            f"put the samples into one tensor: images, labels = zip(*{_LOADED}); "
            "torch.save((torch.stack(images), torch.tensor(labels)), path)"
        )
    return None
