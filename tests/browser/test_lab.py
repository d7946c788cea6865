"""Lesson 05 in a real JupyterLab: every panel is driven by its buttons, with nothing but what a person sees to go by.

The lesson's own cells run first. Below them stand a few more: a network in which every setting may change, so that a round
can be made long enough to be cut off, and a second one whose requests nobody has answered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest

from fedkit.teaching.quiz import LETTERS, read_quiz
from tests.support import ROOT, lab, looks
from tests.support.lessons import quiz_records

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("lab")]
LESSON = ROOT / "notebooks" / "05_round_control.ipynb"
SHOTS = ROOT / "runs" / "screenshots"
SIZE = {"width": 1280, "height": 1000}
PATIENCE_MS = 60_000  # a busy machine; every wait is for a condition
HANG_S = 5.0

ANA, ALICE, BOB, CAROL, DAN = (
    f"{name}@example.org" for name in ("ana", "alice", "bob", "carol", "dan")
)
PANELS = {
    "round control": ".fk-round-control",
    "approval desk": ".fk-approval-desk",
    "failure lab": ".fk-failure-lab",
    "datasite tree": ".fk-datasite-tree",
    "ledger": ".fk-ledger-view",
    "quiz": ".fk-quiz",
}
DRIVEN = -2  # the round control of the first network below, of two
# What a participant may well ask about: it says where it runs.
NOSY = """import os

import torch
from torch import nn


class FLModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 32)
        self.fc2 = nn.Linear(32, 10)
        print("hello from", os.getcwd())

    def forward(self, images):
        return self.fc2(torch.relu(self.fc1(images.flatten(1))))  # one number for each digit, before softmax
"""
CELLS = [
    f"""
import fedkit as fk
from fedkit.teaching.widgets import ApprovalDesk, DatasiteTree, FailureLab, LedgerView, RoundControl

digits = fk.load_mnist()
names = {[ALICE, BOB, CAROL, DAN]!r}

def by_button(name, source=fk.SAMPLE_MODEL, **settings):
    network = fk.Network.create(f"by_button/{{name}}", aggregator={ANA!r}, participants=names)
    parts = fk.iid(digits.train_images, digits.train_labels, 4, 120, generator=fk.generator(0, name))
    for email, part in zip(names, parts, strict=True):
        network.give_data(email, part)
    network.give_test(fk.as_float(digits.test_images[:500]), digits.test_labels[:500])
    network.launch(fk.FLConfig(
        project_name=name.upper(), aggregator={ANA!r}, participants=names, rounds=8, epoch=2, learning_rate=0.1,
        model_arch="model.py", model_weight="global_model_weight.pt", min_participants=3, **settings,
    ), source)
    return network

driven = by_button("driven", adjustable=["learning_rate", "epoch", "participants_per_round"])
RoundControl(driven, approve=fk.approve_all)
""",
    "FailureLab(driven)",
    "DatasiteTree(driven)",
    "LedgerView(driven)",
    f"asked = by_button('asked', source={NOSY!r})\nRoundControl(asked)",
    f"ApprovalDesk(asked[{ALICE!r}])",
    f"ApprovalDesk(asked[{DAN!r}])",
    "asks = globals().get('asks', 0) + 1\nprint(f'the kernel has answered {asks} times')",
]


@dataclass(frozen=True)
class Session:
    """The open notebook: its page, where its files lie, what the browser complained about."""

    page: Any
    folder: Path
    complaints: list[str]
    cells: int

    def panel(self, name: str, which: int = -1) -> Any:
        """A panel of that kind: the lesson's own is the first, those of the cells below are the last."""
        return self.page.locator(PANELS[name]).nth(which)


@pytest.fixture(scope="module")
def session(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Lesson 05 with the cells from above below it, run from the first to the last."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "work").mkdir()
    notebook = nbformat.read(LESSON, as_version=4)
    notebook.cells += [nbformat.v4.new_code_cell(source.strip()) for source in CELLS]
    nbformat.write(notebook, folder / "work" / "lesson.ipynb")
    context = browser.new_context(viewport=SIZE)
    context.set_default_timeout(PATIENCE_MS)
    with lab.running_lab(folder) as server:
        page = context.new_page()
        complaints = lab.console_errors(page)
        lab.open_notebook(page, server, "lesson.ipynb")
        lab.run_all(page)
        yield Session(page, folder / "work", complaints, len(notebook.cells))
        context.close()


@pytest.fixture(autouse=True)
def quiet(session: Session) -> Iterator[None]:
    """No step may leave an error in the browser's console."""
    yield
    found, session.complaints[:] = list(session.complaints), []
    assert found == []


# ------------------------------------------------------------------------- what a person does and sees
def press(panel: Any, name: str) -> None:
    # by its text: the letter that draws the icon is a part of the button's name
    panel.locator("button", has_text=re.compile(rf"^\s*{name}\s*$")).click()


def status(panel: Any, text: str) -> None:
    """Wait until the status line says this."""
    panel.get_by_role("status").filter(has_text=text).first.wait_for()


def write(panel: Any, label: str, value: object) -> None:
    field = panel.get_by_label(label, exact=True)
    field.fill(str(value))
    field.press("Enter")


def column(panel: Any, title: str) -> list[str]:
    """A column of the panel's last table."""
    table = panel.get_by_role("table").last
    heads = [head.split("\n") for head in table.locator("thead th").all_inner_texts()]
    (at,) = [(n, names.index(title)) for n, names in enumerate(heads) if title in names]
    rows = [row.locator("th, td").all_inner_texts() for row in table.locator("tbody tr").all()]
    return [row[at[0]].split("\n")[at[1]] for row in rows]  # two things may share a cell


def said(panel: Any) -> str:
    """What the plot of the rounds says to somebody who hears it."""
    return panel.get_by_role("img").first.get_attribute("aria-label")


def accuracies(panel: Any) -> list[str]:
    return re.findall(r"\d+\.\d%", said(panel).split(";")[0])


def plays(panel: Any, name: str, rounds: int) -> None:
    """Press a button, wait until so many rounds have ended and nothing moves."""
    press(panel, name)
    panel.get_by_role("progressbar", name="rounds").and_(
        panel.locator(f'[aria-valuenow="{rounds}"]')
    ).wait_for()
    panel.locator("button:enabled", has_text="Reset").wait_for()


def back_to_the_start(panel: Any) -> None:
    plays(panel, "Reset", 0)
    assert accuracies(panel) == []


# --------------------------------------------------------------------------------------- lesson 05
def test_the_lessons_own_panels_answer(session: Session) -> None:
    for name in PANELS:
        assert session.panel(name, 0).is_visible(), name
    panel = session.panel("round control", 0)
    assert "Learning rate" in panel.inner_text()
    back_to_the_start(panel)
    plays(panel, "Run round", 1)
    first, table = accuracies(panel), column(panel, "loss")
    assert len(first) == 1
    assert "–" not in table
    plays(panel, "Run round", 2)
    assert len(accuracies(panel)) == 2
    assert accuracies(panel)[0] == first[0]
    assert all(a != b for a, b in zip(table, column(panel, "loss"), strict=True))
    write(panel, "Learning rate", 0.02)
    plays(panel, "Run round", 3)
    assert "from round 3: learning rate 0.1 → 0.02" in said(panel)
    assert panel.locator(".fk-marks").inner_text() == "1 from round 3: learning rate 0.1 → 0.02"
    assert panel.get_by_role("img").get_by_text("1", exact=True).count() >= 2  # one a plot
    assert panel.get_by_label("Local epochs", exact=True).is_disabled()
    plays(panel, "Run all", 4)
    status(panel, "done: 4 rounds")


# ------------------------------------------------------------------------------- a round that is cut off
TIMED = """([panel, name, text]) => new Promise((done, fail) => {
    const line = panel.querySelector('[role="status"]'), words = () =>
        panel.querySelector('[role="status"]').textContent;
    const button = [...panel.querySelectorAll("button")].find((one) => one.textContent.trim() === name);
    const before = words(), began = performance.now();
    let first = null;
    const look = () => {
        const now = performance.now() - began;
        if (first === null && words() !== before) first = now;
        if (words().includes(text)) done([first, now]);
        else if (now > 60000) fail(new Error(`after a minute it says: ${words()}`));
        else requestAnimationFrame(look);
    };
    button.click();
    look();
})"""


def clicked(panel: Any, name: str, text: str) -> tuple[float, float]:
    """Press a button; seconds to the first change of the status line, and until it says `text`."""
    handle = panel.element_handle()
    first, last = panel.page.evaluate(TIMED, [handle, name, text])
    return first / 1000, last / 1000


def test_a_round_is_paused_while_the_kernel_answers(session: Session) -> None:
    panel, page = session.panel("round control", DRIVEN), session.page
    back_to_the_start(panel)
    plays(panel, "Run round", 1)
    kept = accuracies(panel)
    write(panel, "Local epochs", 10_000)
    panel.get_by_text("A change acts from round 2 on").wait_for()
    shown, _ = clicked(panel, "Run all", "● runs")
    bar = panel.get_by_role("progressbar").last
    bar.and_(panel.locator('[aria-valuemax="10000"]')).wait_for()
    # in the middle of the round: somebody trains, and goes on training while another cell runs
    trained = int(bar.get_attribute("aria-valuenow"))
    lab.run_cell(page, session.cells - 1)
    page.locator(".jp-OutputArea-output", has_text="the kernel has answered 2 times").wait_for()
    page.wait_for_function(
        "([node, n]) => Number(node.querySelectorAll('[role=progressbar]')[1].ariaValueNow) > n",
        arg=[panel.element_handle(), trained],
    )
    assert panel.get_by_role("status").inner_text().startswith("● runs: round 2")
    _, stopped = clicked(panel, "Pause", "paused in round 2")
    print(f"click to first change: {shown * 1000:.0f} ms, Pause to paused: {stopped * 1000:.0f} ms")
    assert stopped < HANG_S
    assert accuracies(panel) == kept
    back_to_the_start(panel)
    assert column(panel, "approved") == ["✓ yes"] * 4
    assert panel.get_by_label("Local epochs", exact=True).input_value() == "2"
    plays(panel, "Run round", 1)
    assert accuracies(panel) == kept, "the same round gives the same accuracy"


# ------------------------------------------------------------------------------------------ the desks
def test_a_request_is_approved_and_another_declined(session: Session) -> None:
    yes, no = session.panel("approval desk", -2), session.panel("approval desk", -1)
    panel = session.panel("round control", -1)
    assert "1 pending" in yes.inner_text()
    assert "nn.Linear" in yes.get_by_role("region", name="source of the model").inner_text()
    review = yes.get_by_role("note").inner_text()
    assert "line 1" in review
    assert "os" in review
    shots(session, "approval desk", -2)

    press(no, "Decline")
    status(no, "reason")
    assert "1 pending" in no.inner_text(), "without a reason it is no answer"
    write(no, "Reason to decline", "why does it print my <b>folder</b>?")
    press(no, "Decline")
    status(no, "Declined ASKED")
    assert "0 pending" in no.inner_text()
    press(yes, "Approve")
    status(yes, "Approved ASKED")
    panel.get_by_role("row", name=ALICE).get_by_text("✓ yes").wait_for()
    panel.get_by_role("row", name=DAN).get_by_text("why does it print").wait_for()
    arrived = list((session.folder / "by_button" / "asked" / ANA).rglob("declined.json"))
    assert [json.loads(path.read_text(encoding="utf-8")) for path in arrived] == [
        {"participant": DAN, "reason": "why does it print my <b>folder</b>?"}
    ]
    assert column(panel, "approved")[1:3] == ["○ not yet"] * 2


# -------------------------------------------------------------------------------------- what goes wrong
def test_a_broken_update_is_refused_and_says_why(session: Session) -> None:
    panel, breaks = session.panel("round control", DRIVEN), session.panel("failure lab")
    back_to_the_start(panel)
    plays(panel, "Run round", 1)
    breaks.get_by_label("Participant", exact=True).select_option("dan")
    breaks.get_by_label("Fault", exact=True).select_option("NaN")
    assert breaks.get_by_label("From round", exact=True).input_value() == "2"
    press(breaks, "Set fault")
    status(breaks, "Set to fail: dan NaN, from round 2 on")
    plays(panel, "Run round", 2)
    assert column(breaks, "round 1") == ["✓ averaged"] * 4
    assert [cell.split()[-1] for cell in column(breaks, "round 2")] == [
        *["averaged"] * 3,
        "refused",
    ]
    refusal = breaks.get_by_role("listitem").filter(has_text="round 2, dan").inner_text()
    assert "fc1.weight" in refusal
    assert "NaN" in refusal
    shots(session, "failure lab")
    shots(session, "round control", DRIVEN)
    press(breaks, "Repair all")
    status(breaks, "Nothing is set to fail")
    plays(panel, "Run round", 3)
    assert column(breaks, "round 3") == ["✓ averaged"] * 4


# ------------------------------------------------------------------------------------------- the files
def line(tree: Any, name: str) -> Any:
    """The line of the tree whose path ends like this."""
    return tree.locator(f'.fk-tree button[title$="{name}"]').first


def unfold(tree: Any, *names: str) -> Any:
    """Open one folder after the other; returns the line of the last name."""
    for name in names[:-1]:
        found = line(tree, f"/{name}")
        if "▸" in found.inner_text():
            found.click()
        line(tree, f"/{name}").filter(has_text="▾").wait_for()
    return line(tree, f"/{names[-1]}")


def test_the_tree_shows_files(session: Session) -> None:
    panel, tree = session.panel("round control", DRIVEN), session.panel("datasite tree")
    back_to_the_start(panel)
    plays(panel, "Run round", 1)
    assert tree.get_by_label("data dir of").input_value() == ALICE
    side = tree.locator(".fk-file")
    unfold(tree, "running", "DRIVEN", "fl_config.json").click()
    side.get_by_text('"project_name": "DRIVEN"').wait_for()
    assert "who else may read" in side.inner_text()
    shots(session, "datasite tree")
    unfold(tree, "running", "DRIVEN", "round_weights", "trained_model_round_1.pt").click()
    picture = side.get_by_role("img")
    picture.wait_for()
    assert "norm" in f"{picture.get_attribute('alt')} {side.inner_text()}"
    assert picture.evaluate("node => node.complete && node.naturalWidth > 0")
    shots(session, "datasite tree", name="datasite tree weights")
    tree.get_by_label("data dir of").select_option(ANA)
    line(tree, "fl_aggregator").wait_for()


def test_the_ledger_filters(session: Session) -> None:
    panel, ledger = session.panel("round control", DRIVEN), session.panel("ledger")
    back_to_the_start(panel)
    plays(panel, "Run round", 1)
    everything = ledger.locator("b").first.inner_text()
    chosen = [
        menu.evaluate("menu => menu.selectedOptions[0].text")
        for menu in ledger.get_by_role("combobox").all()
    ]
    assert chosen == ["all"] * 3
    assert re.match(r"\d+ files crossed", everything)
    ledger.get_by_label("participant", exact=True).select_option(DAN)
    ledger.get_by_text(f"({DAN}; of ").wait_for()
    ledger.get_by_label("round", exact=True).select_option("1")
    ledger.get_by_text(f"({DAN}, round 1; of ").wait_for()
    assert set(column(ledger, "round")) == {"1"}
    assert all(
        "dan" in pair for pair in zip(column(ledger, "from"), column(ledger, "to"), strict=True)
    )
    shots(session, "ledger")
    for menu in ("participant", "round"):
        ledger.get_by_label(menu, exact=True).select_option("all")
    ledger.get_by_text(everything, exact=True).wait_for()


def test_the_quiz_answers_and_keeps_what_was_chosen(session: Session) -> None:
    quiz = session.panel("quiz")
    quiz.scroll_into_view_if_needed()
    questions = read_quiz("05")
    wrong = next(i for i, option in enumerate(questions[0].options) if not option.right)
    quiz.get_by_role("radio").nth(wrong).check()
    status(quiz, "Try again")
    right = LETTERS.index(questions[0].answer)
    quiz.get_by_role("radio").nth(right).check()
    status(quiz, "Right")
    session.page.get_by_text("Quiz 05: 1 of 5 right, 4 still open").first.wait_for()
    shots(session, "quiz")
    lab.command(session.page, "docmanager:save")
    saved = session.folder / "lesson.ipynb"
    kept = quiz_records(saved)["05"]
    assert kept["tries"]["1"] == LETTERS[wrong] + LETTERS[right]
    assert kept["states"]["1"] == "right"
    cells = nbformat.read(saved, as_version=4).cells
    again = next(n for n, cell in enumerate(cells) if cell.source.strip() == 'fk.quiz("05")')
    lab.run_cell(session.page, again)  # as Run All does
    quiz.get_by_text("It goes on from what you chose before.").wait_for()
    assert quiz.get_by_role("radio").nth(right).is_checked()
    session.page.get_by_text("Quiz 05: 1 of 5 right, 4 still open").first.wait_for()


NARROW = {"width": 1000, "height": 800}


def test_panels_fit_beside_an_open_file_browser(session: Session) -> None:
    """1000 pixels with the file browser open, as on a small laptop: no table scrolls, no printed word is broken."""
    page = session.page
    lab.command(page, "application:toggle-left-area")
    page.set_viewport_size(NARROW)
    try:
        page.wait_for_function("() => !window.jupyterapp.shell.leftCollapsed")
        hanging = {}
        for name in PANELS:
            panel = session.panel(name, 0)
            panel.scroll_into_view_if_needed()
            assert panel.evaluate("node => node.clientWidth") < 700, "the file browser is not open"
            wide = panel.locator(".fk-scroll").evaluate_all(
                "all => all.map(n => n.scrollWidth - n.clientWidth).filter(more => more > 1)"
            )
            hanging |= {name: wide} if wide else {}
        assert hanging == {}
        over = page.locator(".fk-panel").evaluate_all(  # a long line of code scrolls in its own box
            "all => all.filter(n => n.scrollWidth > n.clientWidth + 1).map(n => n.className)"
        )
        assert over == []
        assert page.locator(".fk-panel pre.fk-code").evaluate_all(
            "all => all.some(n => n.scrollWidth > n.clientWidth)"
        )
        broken = page.locator(".jp-OutputArea-output pre").evaluate_all(
            "all => all.filter(n => getComputedStyle(n).wordBreak === 'break-all').length"
        )
        assert broken == 0
    finally:
        lab.command(page, "application:toggle-left-area")
        page.set_viewport_size(SIZE)


# ------------------------------------------------------------------------------------------- its looks
def shots(session: Session, panel: str, which: int = -1, name: str = "") -> None:
    """The panel as it stands, at the top of the window, light and dark: nothing is cut, every word can be read."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page, found = session.page, session.panel(panel, which)
    page.mouse.move(0, 0)
    wrong = []
    now = "light" if page.evaluate("document.body.dataset.jpThemeLight") == "true" else "dark"
    for theme in (now, "light" if now == "dark" else "dark"):  # a change takes a second
        if theme != now:
            lab.set_theme(page, theme)
        found.evaluate("node => node.scrollIntoView({ block: 'start' })")
        page.screenshot(path=SHOTS / f"{(name or panel).replace(' ', '-')}-{theme}.png")
        words = looks.texts(found)
        assert len(words) > 15
        wrong += [(theme, w) for w in words if w["ratio"] < 4.5 or w["size"] < 11]
        wrong += [(theme, text) for text in looks.cut(found)]
        assert found.evaluate("node => node.scrollWidth <= node.clientWidth + 1")
    assert wrong == []
