"""The playground: what a frame costs, part by part, early and late in a run; compute, drawing, HTML.

Processor time, so that a busy machine counts less. What the browser adds is seen by the browser test.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable

from benchmarks.common import row
from fedkit.learning.models import load_model
from fedkit.teaching.playground.dealt import deal
from fedkit.teaching.playground.settings import Settings
from fedkit.teaching.widgets.playground import Playground
from fedkit.teaching.widgets.playground_parts import people_table, stage_html

PRIVATE = "rounds=16&noise=2&unit=example"
RUNS = {
    "points, 10 participants": ("rounds=62", 100),
    "points, 20 participants": ("rounds=26&participants=20", None),
    "points, 54 participants": ("rounds=16&participants=54", None),
    "points, three hidden layers": ("rounds=26&layers=3", 100),
    "points, two groups": ("rounds=26&skew=swapped&groups=2&split=1", 100),
    "points, SCAFFOLD": ("rounds=26&strategy=scaffold", 100),
    "points, noise for a participant": ("rounds=26&noise=2", 100),
    "points, DP-SGD (noise for an example)": (PRIVATE, None),
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


def steps_alone() -> dict[str, float]:
    """Milliseconds that the steps of a round of DP-SGD take, and nothing else: by Opacus, and by torch without it.

    The same model, and batches as large as they are on average. Torch's is the plain gradient of a batch: none for each
    example, no clipping and no noise.
    """
    import torch
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer
    from torch.nn import functional as F

    settings = Settings.of_link(PRIVATE)
    dealt = deal(settings)
    model = load_model(dealt.model, task=dealt.config.task).train()
    samples, labels = next(iter(dealt.shards.values()))
    rounds = -(-settings.samples // settings.batch_size)
    size = round(settings.samples / rounds)
    batch, target = samples[:size], labels[:size]
    parameters = list(model.parameters())

    def plain() -> None:
        torch.autograd.grad(F.cross_entropy(model(batch), target), parameters)

    watched = GradSampleModule(model, loss_reduction="sum")
    private = DPOptimizer(
        torch.optim.SGD(parameters, lr=1e-3),
        noise_multiplier=settings.noise,
        max_grad_norm=settings.clip,
        expected_batch_size=size,
        generator=torch.Generator(),
    )

    def protected() -> None:
        private.zero_grad(set_to_none=True)
        F.cross_entropy(watched(batch.clone().requires_grad_()), target, reduction="sum").backward()
        private.step()

    steps = settings.participants * settings.epoch * rounds
    cost = {}
    for name, step in (("Opacus", protected), ("torch", plain)):
        if name == "torch":
            watched.to_standard_module()
        taken = [spent(step) for _ in range(300)]
        cost[name] = steps * statistics.median(taken[20:])
    return {**cost, "steps": steps}


def main() -> None:
    """Print the table."""
    print("The playground (milliseconds of processor time a frame; medians)")
    for name, (link, most) in RUNS.items():
        cost = frame_of(link)
        parts = f"{cost['frame']:.0f} ms (compute {cost['compute']:.0f}, draw {cost['draw']:.0f}, HTML {cost['html']:.1f})"
        row(name, parts, f"< {most} ms" if most else "")
        if name == "points, 10 participants":
            row("the last ten frames / the first ten", f"{cost['late']:.2f}x", "<= 1.3x")
        if link == PRIVATE:
            alone = steps_alone()
            parts = (
                f"Opacus {alone['Opacus']:.0f} ms, torch's plain gradient {alone['torch']:.0f} ms"
            )
            row(f"its {alone['steps']:.0f} steps by themselves", parts)
