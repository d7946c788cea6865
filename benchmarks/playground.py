"""The playground: what a frame costs, part by part, early and late in a run; compute, drawing, HTML.

Processor time, so that a busy machine counts less. What the browser adds is seen by the browser test.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable

from benchmarks.common import row
from fedkit.teaching.playground.settings import Settings
from fedkit.teaching.widgets.playground import Playground
from fedkit.teaching.widgets.playground_parts import people_table, stage_html

RUNS = {
    "points, 10 participants": ("rounds=62", 100),
    "points, 20 participants": ("rounds=26&participants=20", None),
    "points, SCAFFOLD": ("rounds=26&strategy=scaffold", 100),
    "points, noise for a participant": ("rounds=26&noise=2", 100),
    "points, DP-SGD (noise for an example)": ("rounds=16&noise=2&unit=example", None),
    "digits, 10 participants": ("data=digits&hidden=64&samples=100&rounds=26", 1000),
}
"""Name -> (settings, the most milliseconds that a frame may take, None where nothing is promised)."""


def spent(work: Callable[[], object]) -> float:
    """Milliseconds of this process's processor time."""
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began)


def frame_of(link: str) -> dict[str, float]:
    """Milliseconds of a frame by part, medians over the run; `late / early` of the last and the first ten frames."""
    panel = Playground(Settings.of_link(link), interactive=True)
    with contextlib.closing(panel):
        panel.play(2)
        whole, compute, draw, words = [], [], [], []
        while not panel.run.done and len(whole) < 60:
            compute.append(spent(panel.run.step))
            frame = panel.frame
            draw.append(spent(lambda states=frame.states: panel.painter.pictures(states)))
            pictures = panel.painter.pictures(frame.states)
            words.append(
                spent(
                    lambda f=frame, p=pictures: (
                        stage_html(f, p, panel.painter.kind),
                        people_table(f),
                    )
                )
            )
            whole.append(compute[-1] + spent(panel.repaint))
        ends = statistics.median(whole[-10:]) / statistics.median(whole[:10])
    medians = map(statistics.median, (whole, compute, draw, words))
    return dict(zip(("frame", "compute", "draw", "html"), medians, strict=True)) | {"late": ends}


def main() -> None:
    """Print the table."""
    print("The playground (milliseconds of processor time a frame; medians)")
    for name, (link, most) in RUNS.items():
        cost = frame_of(link)
        parts = f"{cost['frame']:.0f} ms (compute {cost['compute']:.0f}, draw {cost['draw']:.0f}, HTML {cost['html']:.1f})"
        row(name, parts, f"< {most} ms" if most else "")
        if name == "points, 10 participants":
            row("the last ten frames / the first ten", f"{cost['late']:.2f}x", "<= 1.3x")
