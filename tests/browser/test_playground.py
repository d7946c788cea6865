"""The playground in a real JupyterLab: by keyboard, in light and in dark, in 1000 pixels; how long a frame takes there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.support import ROOT, lab

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("lab")]
SHOTS = ROOT / "runs" / "screenshots"
CELLS = (
    "import fedkit as fk\nfk.playground('rounds=200&hostile=1&drop_out=0.2&skew=labels')",
    "print('the kernel has answered')",
)


def round_of(panel: Any) -> int:
    said = panel.get_by_role("status").first.inner_text()
    return int(said.partition("round ")[2].split()[0])


def test_one_plays_by_keyboard_and_follows_an_experiment(page: Any, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    nbformat.write(notebook, tmp_path / "work" / "lesson.ipynb")
    page.set_default_timeout(180_000)
    page.set_viewport_size({"width": 1000, "height": 1400})
    SHOTS.mkdir(parents=True, exist_ok=True)
    with lab.running_lab(tmp_path) as server:
        complaints = lab.console_errors(page)
        lab.open_notebook(page, server, "lesson.ipynb", sidebar=True)
        lab.run_all(page)
        panel = page.locator(".fk-playground").last
        status = panel.get_by_role("status").first
        panel.get_by_label("pace").select_option("fast")
        panel.get_by_label("guided experiment").focus()
        page.keyboard.press("Tab")  # the next one is Play
        assert "Play" in page.evaluate("() => document.activeElement.textContent")
        page.keyboard.press("Space")
        status.filter(has_text="plays: round 5 ").wait_for()
        began, first = time.monotonic(), round_of(panel)
        page.wait_for_timeout(4000)
        frames = round_of(panel) - first
        print(f"{1000 * (time.monotonic() - began) / max(frames, 1):.0f} ms a frame in the browser")
        page.keyboard.press("Space")  # the focus has stayed on it
        panel.get_by_role("button", name="Play").wait_for()
        paused = round_of(panel)
        page.wait_for_timeout(1000)
        assert round_of(panel) == paused
        assert frames >= 4
        for theme in ("light", "dark"):
            lab.set_theme(page, theme)
            assert panel.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
            panel.screenshot(path=SHOTS / f"playground-lab-{theme}.png")
        panel.get_by_label("guided experiment").select_option(
            label="9 · What one update gives away"
        )
        panel.get_by_text("Predict.").wait_for()
        panel.get_by_role("button", name="Reveal").click()
        panel.get_by_text("Choose what you expect first.").wait_for()
        panel.get_by_label("b) All of the single ones").check()
        panel.get_by_role("button", name="Reveal").click()
        panel.get_by_text("as you said").wait_for()
        panel.get_by_label("open a link").fill("data=nonsense")
        panel.get_by_role("button", name="Open").click()
        panel.get_by_role("alert").filter(has_text="data").wait_for()
        panel.get_by_label("open a link").fill("skew=swapped")
        panel.get_by_role("button", name="Open").click()
        status = panel.get_by_role("status").last  # the first is the experiment's now
        status.filter(has_text="round 0 ").wait_for()
        for n in (1, 2, 3):
            panel.get_by_role("button", name="Step").click()
            status.filter(has_text=f"round {n} ").wait_for()
        panel.get_by_role("button", name="Part now").click()
        panel.get_by_role("img", name="group A, model of 5: decision surface").wait_for()
        assert panel.get_by_role("img", name="group B, ").count() == 6
        for theme in ("light", "dark"):
            lab.set_theme(page, theme)
            assert panel.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
            tables = panel.locator(".fk-scroll, pre.fk-wraps")
            assert tables.count() > 0
            for table in tables.all():
                assert table.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
            panel.screenshot(path=SHOTS / f"playground-groups-{theme}.png")
        assert complaints == []
