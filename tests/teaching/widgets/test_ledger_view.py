"""The ledger as a panel: its menus filter, and what people wrote is text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import fedkit as fk
from fedkit.federation.ledger import Filter
from fedkit.federation.network import Network
from fedkit.teaching.control.control import Control
from fedkit.teaching.widgets.ledger_view import PAGE, LedgerView
from tests.support.helpers import ALICE, BOB, PROJECT, launched
from tests.support.panels import words


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
    net.sync()
    path = f"{ALICE}/public/<img src=x onerror=alert(1)>.txt"  # such names crossed once
    line = {"sender": ALICE, "receiver": BOB, "path": path, "size": 1, "sha256": "0", "time": 0.0}
    with (net.root / "ledger.jsonl").open("a") as ledger:
        ledger.write(json.dumps(line) + "\n")
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
    assert rows(view._table.value) == min(PAGE, len(done.ledger()))
    newest = done.ledger()[-1]
    assert newest.sha256[:12] in view._table.value.split("</tr>")[1]
    view.close()


def numbers(view: LedgerView) -> list[int]:
    """The numbers of the entries on the page, as they stand there."""
    cells = re.findall(r'<th scope="row"[^>]*>(\d+)<br>', view._table.value)
    return [int(number) for number in cells]


def test_the_pages_show_every_entry_once_and_say_where_one_is(done: Network) -> None:
    view, total = LedgerView(done), len(done.ledger())
    assert total > 2 * PAGE, "else there is nothing to turn"
    first, previous, onward, last = view.pager.buttons.values()
    seen = numbers(view)
    assert f"entries 1 to {PAGE} of {total}" in words(view.pager.where.value)
    assert first.disabled
    assert previous.disabled
    while not onward.disabled:
        onward.click()
        seen += numbers(view)
    assert seen == list(range(total, 0, -1))
    assert f"to {total} of {total}" in words(view.pager.where.value)
    assert last.disabled
    previous.click()
    first.click()
    assert numbers(view)[0] == total
    last.click()
    assert numbers(view)[-1] == 1
    view._menus["kind"].value = "model updates"  # another list, and its first page
    assert view.pager.widget is not None
    assert view.pager.widget.layout.display == "none"
    assert rows(view._table.value) == 4
    view.close()


def test_the_pictures_say_how_many_there_are_and_how_to_see_the_rest(done: Network) -> None:
    view, total = LedgerView(done, interactive=False), len(done.ledger())
    said = f"{PAGE} of {total} entries are shown here; {total - PAGE} more: "
    assert said in words(view.html())
    assert said in view.text()
    assert "`network.ledger()` is the whole list" in view.text()
    assert view.text().count("\n") > PAGE
    some = LedgerView(done, interactive=False, wanted=Filter(kind="model updates"))
    assert "are shown here" not in some.html() + some.text()


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
