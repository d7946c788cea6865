"""Small sweeps: a spec of four runs, models that fail in their own ways, and a notebook to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

SMALL = {"rounds": 2, "images": 100, "participants": 5, "learning_rate": 0.2}
MODEL = """
import os, sys, time
import torch
from torch import nn
class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)
    def forward(self, images):
        if len(images) > 2:  # when it is loaded, it is tried on two blank images
            {act}
        return self.fc(images.flatten(1))
"""
RAISES = MODEL.format(act="raise ValueError('too many images')")


def spec(**changes: Any) -> dict[str, Any]:
    return {"run": "simulate", "fixed": SMALL, "grid": {"partition": ["iid", "shards"]}} | changes


PARAMETERS = "rounds: int = 3  # rounds\nseed: int = 0  # seed"


def notebook(path: Path, code: str, parameters_cell: str = PARAMETERS) -> None:
    """A notebook with parameters, `rounds` and `seed` unless told otherwise, and one more cell."""
    parameters = nbformat.v4.new_code_cell(parameters_cell)
    parameters.metadata["tags"] = ["parameters"]
    cells = [parameters, nbformat.v4.new_code_cell(code)]
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=about), path)
