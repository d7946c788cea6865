"""One file of a datasite as a person reads it: JSON indented, text as it is, weights and digits as a picture.

A stranger's bytes are data here too: tensors load without running anything, and a file that can't be read says why.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes, read_dataset, read_state
from fedkit.base.text import how_many
from fedkit.datasite.permissions import READY_FILES
from fedkit.learning.models import flatten
from fedkit.teaching import plots
from fedkit.teaching.plots.pixels import SIDE
from fedkit.teaching.plots.style import size_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FileView", "view_file"]


MOST_LETTERS = 20_000
LARGEST = 64 * 2**20  # bytes; what is larger is not opened for a look
PICTURES = 18  # hidden units, or digits, in a picture
MOST_KINDS = 20  # of labels that are counted one by one
WIDTH = 4.2  # inches: beside a tree, with letters as large as those of the tree


@dataclass(frozen=True)
class FileView:
    """What a person sees of a file.

    kind : "json", "text", "permissions", "weights", "images" or "unreadable". facts : a line each. text : the content,
    "" for tensors. figure : a picture of them, None where there is none; alt : the same in a line of words.
    """

    path: str
    kind: str
    facts: tuple[str, ...] = ()
    text: str = ""
    figure: Figure | None = None
    alt: str = ""


def view_file(data_dir: Path, path: str) -> FileView:
    """Look at a file. path : relative to the data dir, with "/". Never raises: what is wrong is said in its facts."""
    try:
        return _view(data_dir, path)
    except FileNotFoundError:
        return FileView(path, "unreadable", ("It is not there (any more).",))
    except FedkitError as error:
        return FileView(path, "unreadable", (f"It {error.what}.",))


def _view(data_dir: Path, path: str) -> FileView:
    place = data_dir / path
    data = read_bytes(place, root=data_dir, max_bytes=LARGEST)
    size = size_text(len(data))
    if place.suffix in (".pt", ".bin"):
        try:
            return _weights(path, size, read_state(place, root=data_dir, max_bytes=LARGEST))
        except FedkitError as no_state:
            try:
                return _images(path, size, *read_dataset(place, root=data_dir))
            except FedkitError:
                raise no_state from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return FileView(path, "unreadable", (size, "It is neither text nor tensors."))
    kind = "permissions" if place.name in READY_FILES else "text"
    if place.suffix == ".json":
        kind, text = "json", _indented(text)
    facts: tuple[str, ...] = (
        (size, how_many(len(text.splitlines()), "line")) if kind == "text" else (size,)
    )
    if len(text) > MOST_LETTERS:
        facts += (
            f"shown are the first {MOST_LETTERS:,} of {len(text):,} letters; open the file for the rest",
        )
        text = text[:MOST_LETTERS] + "\n…"
    return FileView(path, kind, facts, text)


def _indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _weights(path: str, size: str, state: dict[str, Tensor]) -> FileView:
    facts = [size, f"{sum(t.numel() for t in state.values()):,} numbers"]
    if state:
        facts.append(f"norm of all of them {float(flatten(state).norm()):.4g}")
    for name, tensor in state.items():
        shape = " x ".join(map(str, tensor.shape)) or "one number"
        dtype, norm = str(tensor.dtype).removeprefix("torch."), float(tensor.double().norm())
        facts.append(f"{name}: {shape}, {dtype}, norm {norm:.4g}")
    layer = next((n for n, w in state.items() if w.ndim == 2 and w.shape[1] == 784), None)
    if layer is None:
        return FileView(path, "weights", tuple(facts))
    units = min(PICTURES, len(state[layer]))
    title = f"The first {units} units of {layer}"
    figure = _narrow(plots.weight_images(state, layer, units=units, columns=6, title=title))
    alt = f"The weights of the first {units} hidden units of {layer}, each as 28 x 28 pixels"
    return FileView(path, "weights", tuple(facts), figure=figure, alt=alt)


def _images(path: str, size: str, images: Tensor, labels: Tensor) -> FileView:
    kinds = labels.unique().tolist()
    few = len(kinds) <= MOST_KINDS  # measured numbers are too many to be counted
    held = (
        ", ".join(f"{int((labels == kind).sum())} of {kind:g}" for kind in kinds)
        if few
        else f"labels from {labels.min():g} to {labels.max():g}"
    )
    if images.shape[1:].numel() != SIDE**2:
        shape = " x ".join(map(str, images.shape[1:]))
        what = f"{how_many(len(labels), 'sample')} of {shape} numbers with their labels"
        return FileView(path, "samples", (size, what, held))
    facts = (size, f"{how_many(len(labels), 'image')} with their labels", held)
    shown = min(PICTURES, len(labels))
    figure = _narrow(plots.digit_grid(images[:shown], labels[:shown], columns=6))
    alt = f"The first {shown} of {len(labels):,} handwritten digits"
    return FileView(path, "images", facts, figure=figure, alt=alt)


def _narrow(figure: Figure) -> Figure:
    width, height = figure.get_size_inches()
    figure.set_size_inches(WIDTH, height * WIDTH / width)
    return figure
