"""What a cell calls: a figure with an alt text, a result that stays in the executed copy.

Papermill has no front end and keeps every output as it came, so a displayed output of a type of our own can be read back
from the executed copy, by name. (papermill's own `record` is long gone; scrapbook did it this way.) Outside a notebook,
nothing is shown.
"""

from __future__ import annotations

import base64
import html
import io
import math
import re
import struct
import sys
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from fedkit.base.errors import FedkitError
from fedkit.experiments.notebooks import RECORD_MIME

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "WORDS",
    "alt",
    "break_between_words",
    "caption",
    "figure_html",
    "publish",
    "record",
    "running_cell",
    "running_source",
    "show",
]


CSS_DPI = 100  # pixels on the page for one inch of figure
SHARP = 2  # image pixels for one pixel on the page

# JupyterLab breaks a printed line at whichever letter stands at the edge
WORDS = (
    "<style>.jp-OutputArea .jp-OutputArea-output pre{word-break:normal;overflow-wrap:anywhere}"
    ".jp-OutputArea-child:has(.fk-words){display:none}</style>"
)

Value = bool | int | float | str | list[Any]


# --------------------------------------------------------------------------------------- pictures
def show(fig: Figure, alt: str) -> None:
    """Show a figure as an image with an alt text.

    Parameters
    ----------
    fig : a `matplotlib.figure.Figure`; it stays open and unchanged.
    alt : one line that says what the picture says, for those who can't see it.

    Raises FedkitError if `fig` is no figure, or `alt` is empty or longer than a line. Equal figures give equal bytes.
    """
    publish({"text/html": figure_html(fig, alt), "text/plain": alt.strip()})


def caption(picture: str, **values: object) -> str:
    """The title of a picture that answers a prediction, by the picture's name: `fk.caption("07 by bytes")`.

    The words stand in `captions/NN.yaml`, where nobody reads them before the cell has run. values : what stands in braces
    there. Raises FedkitError for a name or a value that is not there.
    """
    return _words(picture, "title", values)


def alt(picture: str, **values: object) -> str:
    """The alt text of a picture that answers a prediction; as `caption`."""
    return _words(picture, "alt", values)


def _words(picture: str, part: str, values: Mapping[str, object]) -> str:
    lesson, _, name = str(picture).partition(" ")
    try:
        return str(_captions(lesson)[name][part]).format(**values)
    except (KeyError, IndexError) as error:
        raise FedkitError(
            f"the picture {picture!r} has no {part}, or it needs a value",
            field="picture",
            why=f"missing: {error}",
            remedy=f"look into fedkit/teaching/captions/{lesson}.yaml",
        ) from None


@cache
def _captions(lesson: str) -> dict[str, dict[str, str]]:
    path = files(__package__) / "captions" / f"{lesson}.yaml"
    if not re.fullmatch(r"\d\d", lesson) or not path.is_file():
        return {}
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def figure_html(fig: Figure, alt: str) -> str:
    """The `<img>` element that `show` emits: the PNG as a data URL, the alt text, the width in CSS pixels.

    The alt text has to stand in the HTML: JupyterLab and nbconvert ignore the one in an output's metadata.
    """
    from matplotlib.figure import Figure  # slow to import, and not every user draws

    if not isinstance(fig, Figure):
        raise FedkitError(
            f"can't show a {type(fig).__name__}",
            field="fig",
            remedy="give a matplotlib Figure: every fk.plots function returns one",
        )
    if not isinstance(alt, str) or not alt.strip() or "\n" in alt.strip():
        raise FedkitError(
            "needs an alt text of one line",
            field="alt",
            why="Without it the picture says nothing to those who can't see it",
            remedy='write the picture\'s message: fk.show(fig, "Accuracy rises in every round")',
        )
    buffer = io.BytesIO()
    # without "Software": matplotlib's version would change the bytes of an unchanged picture
    fig.savefig(
        buffer, format="png", dpi=SHARP * CSS_DPI, bbox_inches="tight", metadata={"Software": None}
    )
    data = buffer.getvalue()
    (pixels,) = struct.unpack(">I", data[16:20])  # the width in the header of a PNG
    return (
        f'<img alt="{html.escape(alt.strip())}" width="{round(pixels / SHARP)}" '
        'style="max-width: 100%; height: auto" '
        f'src="data:image/png;base64,{base64.b64encode(data).decode()}">'
    )


# ---------------------------------------------------------------------------------------- results


def record(**values: Value) -> None:
    """Keep results of a notebook under their names: `fk.record(accuracy=0.875, rounds=3)`.

    Values are finite numbers, strings, or lists of them. The last value of a name counts. Raises FedkitError for
    anything else, and shows nothing outside a notebook.
    """
    if not values:
        raise FedkitError("nothing to record", remedy="name a value: fk.record(accuracy=0.875)")
    plain = {name: _plain(name, value) for name, value in values.items()}
    text = ", ".join(f"{name} = {value}" for name, value in plain.items())
    publish({RECORD_MIME: plain, "text/plain": f"Recorded: {text}"})


def _plain(name: str, value: object) -> Value:
    # the exact types: a numpy.float64 is a float, but says so only until somebody reads the JSON back
    if type(value) in (bool, int, str):
        return value  # type: ignore[return-value]
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) in (list, tuple):
        return [_plain(name, item) for item in value]  # type: ignore[attr-defined]
    described = repr(value) if type(value) is float else f"a {type(value).__name__}"
    raise FedkitError(
        f"{described} can't be recorded",
        field=name,
        why="A record holds finite numbers, strings and lists of them",
        remedy="convert it: float(x), int(x), x.tolist() or str(x)",
    )


# ------------------------------------------------------------------------------------ the notebook
def running_cell() -> tuple[str | None, int | None]:
    """The id of the running cell and its number: None, None where there is no notebook. Asks IPython without importing it.

    The id is None where the front end gives none; the number counts how often any cell has run.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    try:
        cell = shell.get_parent()["metadata"].get("cellId")  # type: ignore[union-attr]
    except (AttributeError, LookupError, TypeError):
        cell = None
    return cell, shell.execution_count if shell is not None else None


def running_source() -> str | None:
    """What stands in the running cell; None where there is no notebook, or it keeps none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    cells = getattr(shell, "user_ns", {}).get("In")
    source = cells[-1] if isinstance(cells, list) and cells else None
    return source if isinstance(source, str) else None


def publish(bundle: Mapping[str, object]) -> None:
    """Display a mime bundle under the running cell; outside a notebook nothing happens."""
    if running_cell()[1] is not None:
        from IPython.display import display

        display(dict(bundle), raw=True)


def break_between_words() -> None:
    """From now on, long printed lines of this notebook's page break between words."""
    publish({"text/html": f'<div class="fk-words">{WORDS}</div>', "text/plain": ""})
