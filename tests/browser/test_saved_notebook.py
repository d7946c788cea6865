"""Yesterday's notebook, in a real JupyterLab: its panels are pictures that say which cells bring the buttons back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from fedkit.teaching.widgets.panel import SAVED
from tests.support import ROOT, lab

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("lab")]
SHOTS = ROOT / "runs" / "screenshots"
CELL = """
import fedkit as fk
from fedkit.teaching.widgets.round_control import RoundControl

names = ["alice@example.org", "bob@example.org"]
network = fk.Network.create(fk.workspace("saved"), aggregator="ana@example.org", participants=names)
network.launch(fk.FLConfig(
    project_name="SAVED", aggregator="ana@example.org", participants=names, rounds=2, epoch=1, learning_rate=0.1,
    model_arch="model.py", model_weight="global_model_weight.pt",
))
RoundControl(network)
"""
RESTART = (
    "() => window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.restart()"
)
WARNING = "node => getComputedStyle(node, '::before').content"


def test_a_saved_panel_is_a_picture_and_says_what_to_run(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    cells = [nbformat.v4.new_code_cell(CELL.strip())]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=kernel)
    nbformat.write(notebook, tmp_path / "work" / "saved.ipynb")
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(60_000)
    SHOTS.mkdir(parents=True, exist_ok=True)
    with lab.running_lab(tmp_path) as server:
        page = context.new_page()
        lab.open_notebook(page, server, "saved.ipynb")
        lab.run_all(page)
        panel, picture = page.locator(".fk-round-control"), page.locator(".fk-twin")
        panel.get_by_text("waits for").first.wait_for()
        assert picture.count() == 1
        assert not picture.is_visible(), "the live panel hides its picture"
        lab.command(page, "docmanager:save")

        page.evaluate(RESTART)  # the page stays: its panel is there, and dead
        page.locator(".fk-round-control.jupyter-widgets-disconnected").wait_for()
        assert "run the cells again" in panel.evaluate(WARNING)
        page.screenshot(path=SHOTS / "panel-after-a-restart.png")

        lab.open_notebook(page, server, "saved.ipynb")  # as on the next day
        picture.get_by_text(SAVED).wait_for()
        assert "waits for" in picture.inner_text()
        page.screenshot(path=SHOTS / "panel-of-yesterday.png")
        assert not page.get_by_text("model not found").is_visible()
        assert not page.get_by_text("Loading widget").is_visible()
        assert panel.count() == 0

        lab.run_all(page)
        panel.get_by_text("waits for").first.wait_for()
        assert not picture.is_visible()
        context.close()
