"""The ledger's view: kinds and rounds read from paths, filters that lose no byte, the panel without a front end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fedkit as fk
from fedkit.federation.ledger import Filter, LedgerEntry, by_kind, crossings, select, total_bytes
from fedkit.federation.network import Network
from fedkit.teaching.control.control import Control
from fedkit.teaching.widgets.ledger_view import FEW, LedgerView
from tests.support.helpers import AGGREGATOR, ALICE, BOB, PROJECT, launched

BOX = f"{ALICE}/app_data/fl_client/running/P"


def entry(path: str, sender: str = ALICE, receiver: str = AGGREGATOR, size: int = 1) -> LedgerEntry:
    return LedgerEntry(sender, receiver, path, size, "0" * 64, 0.0)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Two rounds of two participants, to the end."""
    net = launched(tmp_path_factory.mktemp("done"))
    assert net.run(approve=fk.approve_all).done
    return net


# --------------------------------------------------------------------------------------- model
@pytest.mark.parametrize(
    ("path", "number"),
    [
        (
            f"{AGGREGATOR}/app_data/fl_aggregator/running/P/fl_clients/{ALICE}/trained_model_round_12.pt",
            12,
        ),
        (
            f"{AGGREGATOR}/app_data/fl_aggregator/running/P/fl_clients/{ALICE}/trained_model_round_3.json",
            3,
        ),
        (f"{BOX}/agg_weights/agg_model_round_0.pt", 0),
        (f"{BOX}/agg_weights/round_2.json", 2),
        (f"{BOX}/agg_weights/syft.pub.yaml", None),
        (f"{BOX}/state/state.json", None),
        ("round_9@example.org/public/letter.txt", None),
        ("round_9.org/public/trained_model_round_x.pt", None),
    ],
)
def test_the_round_is_read_from_the_files_name(path: str, number: int | None) -> None:
    assert [c.round for c in crossings([entry(path)])] == [number]


def test_the_filters_divide_the_ledger_without_losing_a_byte(done: Network) -> None:
    everything = crossings(done.ledger())
    assert [c.entry for c in everything] == done.ledger()
    assert select(everything, Filter()) == everything
    kinds = {c.kind for c in everything}
    assert sum(len(select(everything, Filter(kind=kind))) for kind in kinds) == len(everything)
    rounds = {c.round for c in everything} - {None}
    assert rounds == {0, 1, 2}
    for n in rounds:
        assert {c.round for c in select(everything, Filter(round=n))} == {n}
    assert sum(size for _, _, size in by_kind(everything)) == sum(e.size for e in done.ledger())
    both = select(everything, Filter(ALICE, 1, "model updates"))
    assert [c.entry.path.rpartition("/")[2] for c in both] == ["trained_model_round_1.pt"]


def test_a_participants_files_are_those_it_sent_or_received(done: Network) -> None:
    ends = {
        end
        for c in select(crossings(done.ledger()), Filter(participant=BOB))
        for end in [{c.entry.sender, c.entry.receiver}]
        for end in [tuple(sorted(end))]
    }
    assert ends
    assert all(BOB in pair for pair in ends)


def test_training_images_have_a_row_even_where_none_crossed(done: Network) -> None:
    (images,) = [row for row in by_kind(crossings(done.ledger())) if row[0] == "training images"]
    assert images[1:] == (0, 0)
    leak = crossings([entry(f"{ALICE}/public/mnist_label_3.pt", size=50)])
    assert ("training images", 1, 50) in by_kind(leak)
    assert total_bytes(leak) == 50


# --------------------------------------------------------------------------------------- panel
def rows(html: str) -> int:
    """Rows of the table of files."""
    return len(re.findall(r"<tr>", html.split("sha256")[-1]))


def test_the_twin_says_files_bytes_and_the_filter(done: Network) -> None:
    whole = LedgerView(done, interactive=False)
    assert whole.box is None
    assert f"{len(done.ledger())} files crossed" in whole.summary()
    some = LedgerView(done, interactive=False, wanted=Filter(ALICE, 2, "model updates"))
    assert some.summary().startswith("1 file crossed")
    assert f"of {len(done.ledger())} files" in some.summary()
    assert "trained_model_round_2.pt" in some.html()
    assert "trained_model_round_1.pt" not in some.html()
    assert "model updates: 1 file" in some.text()
    assert set(some._repr_mimebundle_()) == {"text/html", "text/plain"}


def test_what_people_wrote_is_text_and_no_markup(tmp_path: Path) -> None:
    net = launched(tmp_path)
    (net[ALICE].public / "<img src=x onerror=alert(1)>.txt").write_text("x")
    net.sync()
    html = LedgerView(net, interactive=False).html()
    assert "<img" not in html
    assert "&lt;img" in html


def test_the_menus_filter_and_the_newest_comes_first(done: Network) -> None:
    view = LedgerView(done)
    assert view.box is not None
    view._menus["kind"].value = "model updates"
    assert view.summary().startswith("4 files crossed")
    view._menus["round"].value = 2
    assert view.summary().startswith("2 files crossed")
    assert rows(view._table.value) == 2
    view._menus["participant"].value = BOB
    assert "bob" in view._table.value
    assert rows(view._table.value) == 1
    for menu in view._menus.values():
        menu.index = 0  # everything
    assert rows(view._table.value) == min(FEW, len(done.ledger()))
    newest = done.ledger()[-1]
    assert newest.sha256[:12] in view._table.value.split("</tr>")[1]
    view._more.click()
    assert rows(view._table.value) == len(done.ledger())
    assert view._more.layout.display == "none"
    view.close()


def test_new_files_appear_with_the_round_and_the_choice_stays(tmp_path: Path) -> None:
    net = launched(tmp_path)
    control = Control.of(net, fk.approve_all)
    view = LedgerView(net)
    view._menus["participant"].value = BOB
    before = len(view.shown)
    control.run_round()
    control.wait(60)
    assert view._menus["participant"].value == BOB
    assert len(view.shown) > before
    assert 1 in [value for _, value in view._menus["round"].options]
    assert view._totals.value.count(BOB) == 1
    view.close()
    assert view.box is None
    control.close()


def test_opening_it_again_shows_the_same_from_the_files_alone(done: Network) -> None:
    assert (
        LedgerView(Network.open(done.root), interactive=False).summary()
        == LedgerView(done, interactive=False).summary()
    )
    assert PROJECT in LedgerView(done, interactive=False).html()
