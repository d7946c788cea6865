"""The panels: what a person waits for, and what looking at the training costs the training.

Everything happens in a real kernel, whose messages this process reads as a front end would; the browser's own share is
measured by the browser tests.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.manager import KernelManager

from benchmarks.common import row

REPEATS = 5

SET_UP = """
import json, statistics, tempfile, time
from dataclasses import replace
import fedkit as fk
from benchmarks.common import AGGREGATOR, seconds, tutorial_config, tutorial_network
from fedkit.teaching.widgets import RoundControl

PEOPLE = [f"p{number}@example.org" for number in range(10)]

def ten(rounds=20, **changes):
    digits, folder = fk.load_mnist(), tempfile.mkdtemp()
    network = fk.Network.create(folder, aggregator=AGGREGATOR, participants=PEOPLE)
    shards = fk.iid(digits.train_images, digits.train_labels, 10, generator=fk.generator(0, "ten"))
    for email, shard in zip(PEOPLE, shards, strict=True):
        network.give_data(email, shard)
    network.give_test(fk.as_float(digits.test_images), digits.test_labels)
    network.launch(tutorial_config(participants=PEOPLE, rounds=rounds, **changes))
    return network
"""

# A panel that lives in the notebook while it trains, beside the same rounds by run().
TRAIN = """
def by_run():
    with tutorial_network() as network:
        return seconds(lambda: network.run(approve=fk.approve_all))

def by_panel():
    with tutorial_network() as network:
        panel = RoundControl(network, approve=fk.approve_all)
        def work():
            panel.control.run_all()
            assert panel.wait().history.done
        took = seconds(work)
        panel.close()
        return took

by_run(), by_panel()
pairs = [(by_panel(), by_run()) for _ in range(REPEATS)]
print(json.dumps([statistics.median(column) for column in zip(*pairs)]))
"""

# Twenty rounds of ten participants, drawn again and again with another last accuracy.
DRAW = """
network = ten(rounds=20)
panel = RoundControl(network, approve=fk.approve_all)
part = fk.Contribution(PEOPLE[0], 0.1, 1000, 0.5, 1.0, "0" * 64, 1.0)
rounds = [
    fk.RoundRecord(n, tuple(replace(part, participant=p) for p in PEOPLE), accuracy=n / 25, loss=2 / n,
                   learning_rate=0.1 / n, local_epochs=n)
    for n in range(1, 21)
]
times = []
for turn in range(20):
    last = replace(rounds[-1], accuracy=0.9 + turn / 1000)
    history = fk.History("MNIST_FL", (*rounds[:-1], last), 20)
    panel.control._now = replace(panel.control.now, history=history, rounds=20)
    times.append(seconds(panel.repaint))
print(json.dumps(statistics.median(times)))
panel.close()
"""

PANEL = """
network = ten(rounds=50)
panel = RoundControl(network, approve=fk.approve_all)
print(json.dumps({"status": panel.status.model_id, **{n: b.model_id for n, b in panel.buttons.items()}}))
panel
"""


class Kernel:
    """A kernel, and what a front end does with it: run code, click a button, read what changes."""

    def __init__(self, manager: KernelManager) -> None:
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str) -> Any:
        """Run code to its end; returns the JSON that it prints last."""
        lines: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                lines.append(message["content"]["text"])
            if message["msg_type"] == "error":
                raise RuntimeError("\n".join(message["content"]["traceback"]))

        self.client.execute_interactive(code, output_hook=hear, timeout=600)
        return json.loads("".join(lines).splitlines()[-1]) if lines else None

    def click(self, button: str) -> float:
        """Press a button; returns the moment."""
        click = {"method": "custom", "content": {"event": "click"}}
        message = self.client.session.msg("comm_msg", {"comm_id": button, "data": click})
        self.client.shell_channel.send(message)
        return time.perf_counter()

    def until(self, model: str, word: str, timeout_s: float = 60.0) -> float:
        """The moment at which the value of a widget holds a word."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            with contextlib.suppress(Empty):
                content = self.client.get_iopub_msg(timeout=0.5)["content"]
                if content.get("comm_id") == model:
                    value = content["data"].get("state", {}).get("value", "")
                    if word in value:
                        return time.perf_counter()
        raise TimeoutError(f"{word!r} was not shown within {timeout_s} s")


@contextlib.contextmanager
def running_kernel() -> Iterator[Kernel]:
    """A fresh kernel in this folder."""
    manager = KernelManager(kernel_name="python3")
    with tempfile.TemporaryDirectory() as folder:
        manager.connection_file = str(Path(folder) / "kernel.json")
        manager.start_kernel()
        try:
            yield Kernel(manager)
        finally:
            manager.shutdown_kernel(now=True)


def clicks(kernel: Kernel) -> tuple[float, float]:
    """Median seconds from Run to the first change, and from Pause in the middle of a round to the stop."""
    at = kernel.run(PANEL)
    starts, stops = [], []
    for _ in range(REPEATS):
        began = kernel.click(at["Run all"])
        starts.append(kernel.until(at["status"], "runs") - began)
        kernel.until(at["status"], "trains")
        time.sleep(0.3)
        began = kernel.click(at["Pause"])
        stops.append(kernel.until(at["status"], "paused") - began)
    return statistics.median(starts), max(stops)


def main() -> None:
    """Print the table."""
    print(
        "The panels (in a real kernel; 10 participants with 1,000 images each, or the tutorial's two)"
    )
    with running_kernel() as kernel:
        kernel.run(f"REPEATS = {REPEATS}\n{SET_UP}")
        start, stop = clicks(kernel)
        row("(a) click to the first change", f"{1000 * start:.0f} ms", "< 300 ms")
        row(
            "(b) Pause to stop, 10 participants, the slowest of 5",
            f"{1000 * stop:.0f} ms",
            "< 1,000 ms",
        )
        row("(c) redraw of a 20-round history", f"{1000 * kernel.run(DRAW):.0f} ms", "< 200 ms")
        by_panel, by_run = kernel.run(TRAIN)
        row(
            "(d) training watched by a panel / network.run()",
            f"{by_panel / by_run:.2f}x",
            "<= 1.1x",
        )
