"""The tree of data dirs as a panel: it opens, folds, shows files, and says everything in words."""

from __future__ import annotations

from pathlib import Path

import fedkit as fk
from fedkit.federation.network import Network
from fedkit.teaching.control.control import Control
from fedkit.teaching.widgets.datasite_tree import DatasiteTree
from tests.support.helpers import AGGREGATOR, ALICE, BOB, PROJECT, launched
from tests.support.panels import OWN


def press(tree: DatasiteTree, name: str) -> None:
    """Press the first line with this name, as a person would."""
    row = next(row for row in tree._tree.children if row.tooltip.rpartition("/")[2] == name)
    row.click()


def test_the_panel_opens_folds_and_shows_files(after_a_round: Network) -> None:
    tree = DatasiteTree(after_a_round, ALICE)
    assert tree.box is not None
    names = [row.tooltip for row in tree._tree.children]
    assert names == [line.path for line in tree.model.lines()]
    assert "private/fl_client" in names
    press(tree, "private")
    assert "private/fl_client" not in [row.tooltip for row in tree._tree.children]
    press(tree, "private")
    assert [row.tooltip for row in tree._tree.children] == names
    press(tree, "config.json")
    assert "client_url" in tree._pane.value
    assert "who else may read: nobody else" in tree._pane.value
    for name in ("app_data", "fl_client", "running", PROJECT, "round_weights"):
        press(tree, name)
    press(tree, "trained_model_round_1.pt")
    assert "<img alt=" in tree._pane.value
    assert "norm" in tree._pane.value
    tree.choose(BOB)
    assert tree.file is None
    assert "Press a file" in tree._pane.value
    tree.close()


def test_a_round_is_one_step_on_the_panel(tmp_path: Path) -> None:
    net = launched(tmp_path, rounds=3)
    control = Control.of(net, fk.approve_all)
    tree = DatasiteTree(net, ALICE)
    for n in (1, 2):
        control.run_round()
        control.wait(60)
        signs = {line.name: line.sign for line in tree.model.lines()}
        assert signs[f"trained_model_round_{n}.pt"] == "+"
        assert signs.get("trained_model_round_1.pt", "") == ("+" if n == 1 else "")
        (row,) = [
            r for r in tree._tree.children if r.tooltip.endswith(f"trained_model_round_{n}.pt")
        ]
        assert row.description.startswith("+ ")
        assert "fk-new" in row._dom_classes
    assert "new (+)" in tree._summary.value
    tree.close()
    control.close()


def test_rows_line_up_and_say_everything_in_words(after_a_round: Network) -> None:
    tree = DatasiteTree(after_a_round, AGGREGATOR)
    for name in (AGGREGATOR, "app_data", "fl_aggregator", "running", PROJECT, "fl_clients"):
        if name != AGGREGATOR:
            press(tree, name)
    press(tree, "agg_weights")
    texts = [row.description for row in tree._tree.children]
    (model,) = [text for text in texts if "agg_model_round_0.pt" in text]
    assert "kB" in model
    assert model.endswith("nobody else")
    files = [t for t in texts if t.endswith(("nobody else", "everybody"))]
    assert len({len(t) - len(t.rsplit("B  ", 1)[1]) for t in files if "B  " in t}) == 1
    tree.close()


def test_the_twin_is_the_same_tree_without_widgets(tmp_path: Path) -> None:
    net = launched(tmp_path)
    tree = DatasiteTree(net, ALICE, interactive=False)
    assert tree.box is None
    net.run(approve=fk.approve_all, until_round=1)
    html = tree.html()
    assert "trained_model_round_1.pt" in html
    assert "new (+)" in tree.summary()
    assert "+ private/fl_client/approvals" in tree.text()
    tree.select("config.json")
    assert "client_url" in tree.html()
    assert set(tree._repr_mimebundle_()) == {"text/html", "text/plain"}
    (net[ALICE].public / "<script>alert(1)<").write_text("x")
    tree.select(f"{OWN}/public")
    assert "<script>" not in tree.html()
