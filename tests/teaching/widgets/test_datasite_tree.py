"""The tree of data dirs: what changed with a step, who may read what, and one file as a person sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import fedkit as fk
from fedkit.federation.network import Network
from fedkit.teaching.control.control import Control
from fedkit.teaching.widgets.datasite_tree import DatasiteTree
from fedkit.teaching.widgets.file_view import view_file
from fedkit.teaching.widgets.tree_model import MOST, Line, TreeModel
from tests.support.helpers import AGGREGATOR, ALICE, BOB, PROJECT, Code, launched, network, saved

OWN = f"datasites/{ALICE}"


def line(tree: TreeModel, path: str) -> Line:
    """The line of a path; fails where it is not shown."""
    (found,) = [line for line in tree.lines() if line.path == path]
    return found


def shown(tree: TreeModel) -> list[str]:
    return [line.path for line in tree.lines()]


# -------------------------------------------------------------------------------- what has changed
def test_a_step_shows_what_is_new_rewritten_and_gone(tmp_path: Path) -> None:
    net = network(tmp_path)
    public = net[ALICE].public
    (public / "old.txt").write_text("old")
    (public / "kept.txt").write_text("kept")
    tree = TreeModel(net, ALICE)
    assert tree.changes() == (0, 0, 0), "at first nothing has a sign"
    (public / "new.txt").write_text("new")
    (public / "kept.txt").write_text("rewritten")
    (public / "old.txt").unlink()
    assert tree.look()
    assert tree.changes(ALICE) == (1, 1, 1)
    assert tree.changes(BOB) == (0, 0, 0)
    signs = {line.name: line.sign for line in tree.lines() if line.path.startswith(f"{OWN}/public")}
    assert signs["new.txt"] == "+"
    assert signs["kept.txt"] == "~"
    assert signs["old.txt"] == "-", "what is gone is still on the picture of its step"
    assert line(tree, f"{OWN}/public").changes == (1, 1, 1)
    assert not tree.look(), "nothing has happened since"
    assert tree.changes() == (1, 1, 1), "and the step is still the last one"
    (public / "newer.txt").write_text("newer")
    assert tree.look()
    assert tree.changes() == (1, 0, 0)
    assert f"{OWN}/public/old.txt" not in shown(tree)


def test_looks_while_something_runs_are_one_step(tmp_path: Path) -> None:
    net = network(tmp_path)
    tree = TreeModel(net, ALICE)
    (net[ALICE].public / "before.txt").write_text("x")
    tree.look()
    tree.begin()
    for name in ("one", "two", "three"):
        (net[ALICE].public / name).write_text("x")
        assert tree.look(new_step=False)
    assert tree.changes() == (3, 0, 0)


def test_folders_open_where_something_changed_and_stay_as_a_person_wants_them(
    tmp_path: Path,
) -> None:
    net = network(tmp_path)
    net.sync()
    tree = TreeModel(net, ALICE)
    assert not line(tree, f"{OWN}/public").open
    (net[ALICE].public / "deep").mkdir()
    (net[ALICE].public / "deep" / "new.txt").write_text("x")
    tree.look()
    assert line(tree, f"{OWN}/public/deep/new.txt").depth == 4
    tree.toggle(f"{OWN}/public")
    assert f"{OWN}/public/deep" not in shown(tree)
    (net[ALICE].public / "deep" / "newer.txt").write_text("x")
    tree.look()
    assert not line(tree, f"{OWN}/public").open, "folded by hand stays folded"
    tree.toggle(f"datasites/{BOB}")
    assert f"datasites/{BOB}/public" in shown(tree)
    tree.toggle("nowhere")


def test_a_large_folder_shows_a_few_until_one_asks_for_all(tmp_path: Path) -> None:
    net = network(tmp_path)
    for number in range(MOST + 7):
        (net[ALICE].public / f"{number:03}.txt").write_text("x")
    tree = TreeModel(net, ALICE)
    tree.toggle(f"{OWN}/public")
    inside = [x for x in tree.lines() if x.path.startswith(f"{OWN}/public/")]
    (more,) = [x for x in inside if x.more]
    assert len(inside) - 1 + more.more == MOST + 7 + 2, "two permission files lie there too"
    tree.toggle(more.path)
    inside = [x for x in tree.lines() if x.path.startswith(f"{OWN}/public/")]
    assert len(inside) == MOST + 7 + 2
    assert not any(x.more for x in inside)


def test_a_round_appears_at_both_ends(tmp_path: Path) -> None:
    net = launched(tmp_path)
    tree = TreeModel(net, ALICE)
    net.run(approve=fk.approve_all, until_round=1)
    tree.look()
    box = f"{OWN}/app_data/fl_client/running/{PROJECT}"
    assert line(tree, f"{box}/round_weights/trained_model_round_1.pt").sign == "+"
    tree.choose(AGGREGATOR)
    inbox = f"datasites/{AGGREGATOR}/app_data/fl_aggregator/running/{PROJECT}/fl_clients/{ALICE}"
    assert line(tree, f"{inbox}/trained_model_round_1.pt").sign == "+"
    with pytest.raises(fk.FedkitError, match="has no datasite here"):
        tree.choose("nobody@example.org")


# ------------------------------------------------------------------------------ who may read what
@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A network after one round."""
    net = launched(tmp_path_factory.mktemp("done"))
    net.run(approve=fk.approve_all, until_round=1)
    return net


def test_what_is_said_of_readers_is_what_arrived(done: Network) -> None:
    """Whoever may read a file of Alice's has a copy of it after the sync, and nobody else has one."""
    tree = TreeModel(done, ALICE)
    everything = {
        path.relative_to(done[ALICE].data_dir).as_posix()
        for path in done[ALICE].root.rglob("*")
        if path.is_file()
    }
    assert len(everything) > 10
    for path in everything:
        holders = [e for e in (AGGREGATOR, BOB) if (done[e].data_dir / path).is_file()]
        assert sorted(tree.who_may("read", path)) == sorted(holders), path
        words = {0: "nobody else", 2: "everybody"}.get(
            len(holders), holders[0].split("@")[0] if holders else ""
        )
        assert tree.in_words(tree.who_may("read", path), path) == words


def test_private_is_for_nobody_else(done: Network) -> None:
    tree = TreeModel(done, ALICE)
    private = [line for line in tree.lines() if line.path.startswith("private")]
    assert private
    assert all(line.may_read == "nobody else" for line in private if line.files)


def test_the_rights_are_the_owners_also_on_a_copy(done: Network) -> None:
    """Bob's machine has no copy of Alice's closed permission files, and still the truth is said there."""
    state = f"{OWN}/app_data/fl_client/running/{PROJECT}/state/state.json"
    assert TreeModel(done, BOB).who_may("read", state) == [AGGREGATOR]
    inbox = (
        f"datasites/{AGGREGATOR}/app_data/fl_aggregator/running/{PROJECT}/fl_clients/{ALICE}/x.pt"
    )
    assert TreeModel(done, BOB).who_may("write", inbox) == [ALICE]


# ------------------------------------------------------------------------------------- one file
def test_weights_are_a_picture_with_shapes_and_norms(tmp_path: Path) -> None:
    state = {"fc1.weight": torch.full((20, 784), 2.0), "fc1.bias": torch.tensor([3.0, 4.0])}
    fk.write_state(tmp_path / "w.pt", state)
    seen = view_file(tmp_path, "w.pt")
    assert seen.kind == "weights"
    assert seen.figure is not None
    assert seen.alt
    assert "15,682 numbers" in seen.facts
    (bias,) = [fact for fact in seen.facts if fact.startswith("fc1.bias")]
    assert "2, float32, norm 5" in bias
    (weight,) = [fact for fact in seen.facts if fact.startswith("fc1.weight")]
    assert "20 x 784" in weight
    assert f"norm {(20 * 784 * 4) ** 0.5:.4g}" in weight


@pytest.mark.parametrize(
    "state",
    [{}, {"n": torch.tensor(3)}, {"w": torch.full((2, 784), float("nan"))}, {"b": torch.ones(4)}],
)
def test_strange_weights_are_shown_too(tmp_path: Path, state: dict) -> None:
    fk.write_state(tmp_path / "w.pt", state)
    assert view_file(tmp_path, "w.pt").kind == "weights"


def test_digits_are_a_picture_with_counts(done: Network) -> None:
    files = sorted(p.name for p in done[ALICE].private_client.glob("*.pt"))
    seen = view_file(done[ALICE].data_dir, f"private/fl_client/{files[0]}")
    assert seen.kind == "images"
    assert seen.figure is not None
    assert "3 of 0" in seen.facts


def test_json_is_indented_and_permissions_are_named(done: Network) -> None:
    box = f"{OWN}/app_data/fl_client/running/{PROJECT}"
    seen = view_file(done[ALICE].data_dir, f"{box}/fl_config.json")
    assert seen.kind == "json"
    assert json.loads(seen.text)["project_name"] == PROJECT
    assert '\n  "rounds"' in seen.text
    assert view_file(done[ALICE].data_dir, f"{OWN}/syft.pub.yaml").kind == "permissions"
    model = view_file(done[ALICE].data_dir, f"{box}/model.py")
    assert model.kind == "text"
    assert "class FLModel" in model.text


def test_what_cannot_be_read_says_why_and_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "evil.pt").write_bytes(saved(Code(marker)))
    (tmp_path / "half.pt").write_bytes(saved({"w": torch.ones(900)})[:700])
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "link.txt").symlink_to(tmp_path / "broken.json")
    (tmp_path / "long.txt").write_text("x" * 100_000)
    for name in ("evil.pt", "half.pt", "noise.bin", "link.txt", "gone.txt"):
        seen = view_file(tmp_path, name)
        assert seen.kind == "unreadable", name
        assert seen.facts[-1].startswith("It "), name
        assert seen.text == ""
    assert not marker.exists()
    assert view_file(tmp_path, "broken.json").text == "{"
    assert len(view_file(tmp_path, "long.txt").text) < 25_000
    assert view_file(tmp_path, "../outside.txt").kind == "unreadable"


# --------------------------------------------------------------------------------------- panel
def press(tree: DatasiteTree, name: str) -> None:
    """Press the first line with this name, as a person would."""
    row = next(row for row in tree._tree.children if row.tooltip.rpartition("/")[2] == name)
    row.click()


def test_the_panel_opens_folds_and_shows_files(done: Network) -> None:
    tree = DatasiteTree(done, ALICE)
    assert tree.box is not None
    names = [row.tooltip for row in tree._tree.children]
    assert names == [line.path for line in tree.model.lines()]
    press(tree, "public")
    assert f"{OWN}/public/syft.pub.yaml" in [row.tooltip for row in tree._tree.children]
    press(tree, "public")
    assert [row.tooltip for row in tree._tree.children] == names
    press(tree, "config.json")
    assert "client_url" in tree._body.value
    assert "who else may read: nobody else" in tree._pane.value
    for name in ("app_data", "fl_client", "running", PROJECT, "round_weights"):
        press(tree, name)
    press(tree, "trained_model_round_1.pt")
    assert "<img alt=" in tree._body.value
    assert "norm" in tree._pane.value
    tree.choose(BOB)
    assert tree.file is None
    assert tree._body.value == ""
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


def test_rows_line_up_and_say_everything_in_words(done: Network) -> None:
    tree = DatasiteTree(done, AGGREGATOR)
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
