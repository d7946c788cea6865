"""A project on several roads: what each costs, and what lay open on whose disk. Notebook 12 draws both."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from fedkit.federation.roads.runs import RoadRun
from fedkit.teaching.plots import style

__all__ = ["road_costs", "who_could_open"]


_COSTS = (
    ("seconds", lambda run: run.seconds, "{:.0f}"),
    ("MB that crossed", lambda run: run.bytes / 1e6, "{:.1f}"),
    ("MB of memory", lambda run: run.memory_mb or 0.0, "{:,.0f}"),
)


def road_costs(runs: Mapping[str, RoadRun], *, title: str | None = None) -> Figure:
    """Seconds, megabytes that crossed (1 MB is 1,000,000 bytes) and megabytes of memory of the same project on each road.

    runs : name -> run, the topmost first. A memory that was not measured has no bar. Raises FedkitError if there is none.
    """
    style.need(runs, "runs")
    default = f"The same project on {style.count(len(runs), 'road')}: what it costs"
    height = 1.1 + 0.34 * len(runs)
    fig, axes = style.panels(title or default, len(_COSTS), height=height, alike="y")
    places = range(len(runs))
    for ax, (label, cost, form), colour in zip(axes, _COSTS, style.COLOURS, strict=False):
        values = [cost(run) for run in runs.values()]
        bars = ax.barh(places, values, height=0.6, color=colour)
        texts = [form.format(value) if value else "" for value in values]
        ax.bar_label(bars, texts, padding=3, fontsize=style.SMALL, color=style.INK)
        ax.set_xlim(0, 1.35 * max(*values, 1e-9))
        style.dress(ax, label, "", grid="x")
        ax.locator_params(axis="x", nbins=3)
    axes[0].set_yticks(places, [style.plain(name) for name in runs])
    axes[0].invert_yaxis()
    return fig


def who_could_open(
    seen: Mapping[str, Mapping[str, int]], of: Mapping[str, int], *, title: str
) -> Figure:
    """Whose disk had how much in the open, as a table: a row a party, a column a kind of thing.

    seen : party -> kind -> how many of its kind lay open there. of : kind -> how many there are; the columns, in this
    order. A cell is the bluer the larger its share. Raises FedkitError if there is no party or no kind.
    """
    style.need(seen, "seen")
    style.need(of, "of")
    fig, ax = style.figure(title, height=1.0 + 0.42 * len(seen))
    table = [[(found.get(kind, 0), most) for kind, most in of.items()] for found in seen.values()]
    shares = [[found / most if most else 0.0 for found, most in row] for row in table]
    texts = [[f"{found} of {most}" if found else "none" for found, most in row] for row in table]
    style.cells(ax, shares, texts, highest=1.6)
    kinds = [kind if kind.endswith("s") else f"{kind}s" for kind in of]
    style.name_cells(ax, kinds, [style.plain(who) for who in seen], above=True)
    return fig
