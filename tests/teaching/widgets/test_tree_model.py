"""What the tree of data dirs knows: what changed with a step, and who may read what."""

from __future__ import annotations

from pathlib import Path

import pytest

import fedkit as fk
from fedkit.federation.network import Network
from fedkit.teaching.widgets.tree_model import MOST, TreeModel
from tests.support.helpers import AGGREGATOR, ALICE, BOB, PROJECT, launched, network
from tests.support.panels import OWN, line


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
    (net[BOB].public / "x.txt").write_text("x")
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
    assert len(inside) - 1 + more.more == MOST + 7
    tree.toggle(more.path)
    inside = [x for x in tree.lines() if x.path.startswith(f"{OWN}/public/")]
    assert len(inside) == MOST + 7
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
def test_what_is_said_of_readers_is_what_arrived(after_a_round: Network) -> None:
    """Whoever may read a file of Alice's has a copy of it after the sync, and nobody else has one."""
    tree = TreeModel(after_a_round, ALICE)
    everything = {
        path.relative_to(after_a_round[ALICE].data_dir).as_posix()
        for path in after_a_round[ALICE].root.rglob("*")
        if path.is_file()
    }
    assert len(everything) > 10
    for path in everything:
        holders = [e for e in (AGGREGATOR, BOB) if (after_a_round[e].data_dir / path).is_file()]
        assert sorted(tree.who_may("read", path)) == sorted(holders), path
        words = {0: "nobody else", 2: "everybody"}.get(
            len(holders), holders[0].split("@")[0] if holders else ""
        )
        assert tree.in_words(tree.who_may("read", path), path) == words


def test_private_is_for_nobody_else(after_a_round: Network) -> None:
    tree = TreeModel(after_a_round, ALICE)
    private = [line for line in tree.lines() if line.path.startswith("private")]
    assert private
    assert all(line.may_read == "nobody else" for line in private if line.files)


def test_the_rights_are_the_owners_also_on_a_copy(after_a_round: Network) -> None:
    """Bob's machine has no copy of Alice's closed permission files, and still the truth is said there."""
    state = f"{OWN}/app_data/fl_client/running/{PROJECT}/state/state.json"
    assert TreeModel(after_a_round, BOB).who_may("read", state) == [AGGREGATOR]
    inbox = (
        f"datasites/{AGGREGATOR}/app_data/fl_aggregator/running/{PROJECT}/fl_clients/{ALICE}/x.pt"
    )
    assert TreeModel(after_a_round, BOB).who_may("write", inbox) == [ALICE]
