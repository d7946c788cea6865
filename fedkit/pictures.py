"""What a cell puts under itself: figures with an alt text, and nothing where there is no notebook.

An image's alt text has to stand in the HTML: JupyterLab and nbconvert ignore the one in an output's metadata.
"""

from __future__ import annotations

import base64
import html
import io
import struct
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fedkit.base.errors import FedkitError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["show"]

CSS_DPI = 100  # pixels on the page for one inch of figure
SHARP = 2  # image pixels for one pixel on the page


def show(fig: Figure, alt: str) -> None:
    """Show a figure as an image with an alt text.

    Parameters
    ----------
    fig : a `matplotlib.figure.Figure`; it stays open and unchanged.
    alt : one line that says what the picture says, for those who can't see it.

    Raises FedkitError if `fig` is no figure, or `alt` is empty or longer than a line. Equal figures give equal bytes.
    """
    publish({"text/html": figure_html(fig, alt), "text/plain": alt.strip()})


def figure_html(fig: Figure, alt: str) -> str:
    """The `<img>` element that `show` emits: the PNG as a data URL, the alt text, the width in CSS pixels."""
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


def running_cell() -> int | None:
    """The number of the running cell, or None where there is no notebook. Asks IPython without importing it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell.execution_count if shell is not None else None


def publish(bundle: Mapping[str, object]) -> None:
    """Display a mime bundle under the running cell; outside a notebook nothing happens."""
    if running_cell() is not None:
        from IPython.display import display

        display(dict(bundle), raw=True)
