"""The skew lab in a real JupyterLab: sliders that stand at the picture's settings, and bring back what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.support import ROOT, lab

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("lab")]
SHOTS = ROOT / "runs" / "screenshots"
PATIENCE_MS = 60_000
CELLS = (
    """
import fedkit as fk
from fedkit.teaching.widgets import SkewLab
mnist, people = fk.load_mnist(), fk.numbered_participants(3)
images, labels = mnist.train_images[:300], mnist.train_labels[:300]
test = fk.as_float(mnist.test_images[:200]), mnist.test_labels[:200]
config = fk.FLConfig(project_name="LAB", aggregator="ana@example.org", participants=people, rounds=2, epoch=1,
    learning_rate=0.1, model_arch="model.py", model_weight="global_model_weight.pt")

def deal(alpha):
    parts = fk.split_dirichlet(labels, 3, alpha, min_size=2, generator=fk.generator(0, "deal"))
    return fk.take(images, labels, parts)

skew = SkewLab(deal, test, config)
ends = [skew.run(alpha, 1).accuracies[-1] for alpha in (1.0, 0.2)]
skew
""",
    "print('the kernel has answered')",
)


def readouts(panel: Any) -> list[str]:
    return panel.locator(".widget-readout").all_inner_texts()


def said(panel: Any, text: str) -> str:
    line = panel.get_by_role("status").filter(has_text=text).first
    line.wait_for()
    return line.inner_text()


def test_sliders_and_picture_agree(page: Any, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS]
    nbformat.write(notebook, tmp_path / "work" / "lesson.ipynb")
    page.set_default_timeout(PATIENCE_MS)
    with lab.running_lab(tmp_path) as server:
        complaints = lab.console_errors(page)
        lab.open_notebook(page, server, "lesson.ipynb")
        lab.run_all(page)
        panel = page.locator(".fk-skew-lab").last
        first = said(panel, "alpha 0.2, local epochs 1: heterogeneity")
        assert readouts(panel) == ["0.2", "1"]
        assert panel.get_by_alt_text("Who holds what at alpha 0.2").is_visible()
        handle = panel.get_by_role("slider").first
        handle.press("ArrowRight")
        said(panel, "alpha 0.5, local epochs 1: no run yet")
        assert panel.get_by_alt_text("Who holds what at alpha 0.2").is_visible()
        handle.press("ArrowRight")
        said(panel, "alpha 1, local epochs 1: heterogeneity")
        panel.get_by_alt_text("Who holds what at alpha 1").wait_for()
        assert "alpha 1, 1 epoch" in panel.get_by_role("img").last.get_attribute("alt")
        SHOTS.mkdir(parents=True, exist_ok=True)
        panel.screenshot(path=SHOTS / "skew-lab.png")
        handle.press("ArrowLeft")
        handle.press("ArrowLeft")
        panel.get_by_alt_text("Who holds what at alpha 0.2").wait_for()
        assert said(panel, "alpha 0.2, local epochs 1: heterogeneity") == first
        assert complaints == []
