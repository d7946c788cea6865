"""Small multiples: the runs of a sweep as one panel a value of one parameter, lines for another, bands over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from fedkit.base.errors import FedkitError
from fedkit.teaching.plots import style

if TYPE_CHECKING:
    import pandas as pd
    from pandas.core.groupby import SeriesGroupBy

__all__ = ["small_multiples"]


Band = Literal["range", "sd"]
_BANDS = {"range": "smallest to largest", "sd": "± 1 standard deviation"}
_COLUMNS, _PANEL, _MOST_PANELS = 3, 2.3, 12  # panels in a row, inches of height, panels in all
_FEW, _MANY = 7, 12  # values that an axis can name; points that can all have a marker


def small_multiples(
    frame: pd.DataFrame,
    *,
    x: str = "round",
    y: str = "accuracy",
    panels: str | None = None,
    lines: str | None = None,
    band: Band = "range",
    log_x: bool = False,
    log_y: bool = False,
    target: float | None = None,
    title: str | None = None,
) -> Figure:
    """One panel for each value of `panels`, in it one line for each value of `lines`, all on the same axes.

    A line is the mean of `y` over the seeds (the rows that share panel, line and x); the band around it goes from the
    smallest to the largest of them ("range"), or one sample standard deviation (n - 1) to each side of the mean ("sd").
    Where a single seed is left there is no band. With fewer rows than seeds, a point is the mean of those that are there.

    frame : of `fk.results(folder)`, or by round with `by_round=True`; rows without x or y are left out. log_x, log_y :
    logarithmic axes, for learning rates and losses. target : a dashed line at this value of y. Raises FedkitError for a
    column that is not there, more than 12 panels or 8 lines, or nothing to draw.
    """
    for name in (x, y, *filter(None, (panels, lines))):
        if name not in frame.columns:
            raise FedkitError(
                f"there is no column {name!r}",
                field="frame",
                remedy=f"choose from {', '.join(map(str, frame.columns))}",
            )
    if band not in _BANDS:
        raise FedkitError(f"{band!r} is unknown", field="band", remedy="use 'range' or 'sd'")
    shown = frame.dropna(subset=[x, y])
    style.need(shown, "frame")
    parts = _values(shown, panels, _MOST_PANELS, "panels")
    names = _values(shown, lines, len(style.COLOURS), "lines")
    seeds = shown["seed"].nunique() if "seed" in shown else 1
    columns = 2 if len(parts) == 4 else min(_COLUMNS, len(parts))
    height = 0.7 + _PANEL * -(-len(parts) // columns)
    shown_title = title or _title(y, x, seeds, band)
    fig, axes = style.panels(shown_title, len(parts), height=height, columns=columns, alike="xy")
    for position, (ax, part) in enumerate(zip(axes, parts, strict=True)):
        here = shown if panels is None else shown[shown[panels] == part]
        for name in names:
            mine = here if lines is None else here[here[lines] == name]
            _line(ax, mine.groupby(x)[y], band, _called(lines, name) if lines else y)
        if target is not None:
            ax.axhline(target, color=style.GREY, linestyle="--", linewidth=1)
        bottom = position + columns >= len(parts)
        style.dress(ax, _plain(x) if bottom else "", _plain(y) if position % columns == 0 else "")
        ax.tick_params(labelbottom=bottom)
        if panels is not None:
            ax.set_title(_called(panels, part), fontsize=style.TEXT, color=style.INK)
        if log_x:
            _log_axis(ax, sorted(shown[x].unique().tolist()))
        elif shown[x].dtype.kind in "iu":
            ax.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
        if log_y:
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter(NullFormatter())
    if len(names) > 1:
        style.legend_of_panels(fig, min(4, len(names)))
    return fig


def _line(ax: Axes, groups: SeriesGroupBy[Any, Any], band: Band, label: str) -> None:
    middle = groups.mean()
    points = middle.index.to_numpy()
    every = 1 if len(points) <= _MANY else max(1, len(points) // 6)
    (line,) = ax.plot(points, middle, markersize=5, markevery=every, linewidth=1.8, label=label)
    low, high = groups.min(), groups.max()
    if band == "sd":
        spread = groups.std(ddof=1).fillna(0.0)
        low, high = middle - spread, middle + spread
    if bool((groups.count() > 1).any()):
        ax.fill_between(points, low, high, color=line.get_color(), alpha=0.2, lw=0)


def _log_axis(ax: Axes, points: list[float]) -> None:
    """A logarithmic axis that names the values that were run, where there is room for them."""
    ax.set_xscale("log")
    if len(points) <= _FEW:
        ax.set_xticks(points, [f"{point:.3g}" for point in points])
        ax.minorticks_off()


def _values(frame: pd.DataFrame, column: str | None, most: int, field: str) -> list[Any]:
    if column is None:
        return [None]
    found = frame[column].drop_duplicates().dropna().tolist()
    if len(found) > most:
        raise FedkitError(
            f"{column} has {len(found)} values, more than the {most} that a reader can tell apart",
            field=field,
            remedy="choose some: frame[frame[name].isin([...])]",
        )
    return found


def _called(column: str, value: object) -> str:
    """A text says what it is; a number needs its column's name."""
    if isinstance(value, str):
        return style.plain(value)
    return f"{_plain(column)} {f'{value:g}' if isinstance(value, float) else value}"


def _plain(column: str) -> str:
    return style.plain(column.replace("_", " "))


def _title(y: str, x: str, seeds: int, band: Band) -> str:
    what = f"{_plain(y)} by {_plain(x)}".capitalize()
    if seeds < 2:
        return f"{what}, one seed"
    return f"{what}: mean over {style.count(seeds, 'seed')}; band: {_BANDS[band]}"
