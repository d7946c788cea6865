"""The dashboard in a real Chromium: it follows a run, says what it waits for, survives its server, and is readable."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedkit.cli.serve import Server, projects
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.round_plan import change_settings
from fedkit.federation.network import Network
from fedkit.learning.models import SAMPLE_MODEL
from fedkit.protocol.approval import approve_all
from fedkit.teaching.failures.faults import Fault, Faults
from tests.support import ROOT, looks
from tests.support.helpers import ALICE, BOB, CAROL, EVE, PROJECT, held_out, network, shard, small

pytestmark = pytest.mark.browser
SHOTS = ROOT / "runs" / "screenshots"
WIDE, PHONE = {"width": 1280, "height": 1000}, {"width": 400, "height": 850}
READ = """async (files) => {
    const it = await import("/dashboard-state.js");
    files ??= await Promise.all(["accuracy_metrics", "participants", "history"].map(
        (name) => fetch(`/fl/MNIST_FL/${name}.json`).then((answer) => answer.json())));
    const project = it.readProject("MNIST_FL", ...files);
    return { ...it.standing(project), traffic: it.traffic(project), ago: it.since(1000, 1000 + 3725) };
}"""


@pytest.fixture
def watched(page: Any) -> Iterator[Any]:
    """A page that must not complain, and must not ask any other host for anything."""
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("response", lambda r: said.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    page.on(
        "request",
        lambda request: (
            None if re.match(r"http://localhost:\d+/", request.url) else said.append(request.url)
        ),
    )
    yield page
    assert said == []


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Seven rounds of ten and a bit, with real digits: somebody absent, an update refused, settings that change."""
    people = [ALICE, BOB, CAROL, EVE]
    config = small(
        participants=people,
        rounds=10,
        epoch=3,
        min_participants=2,
        adjustable=["learning_rate", "epoch"],
    )
    net = network(tmp_path_factory.mktemp("net"), people)
    for position, email in enumerate(people):
        net.give_data(email, shard(range(2 * position, 2 * position + 4), 15))
    net.give_test(*held_out(400))
    net.launch(config, SAMPLE_MODEL)
    faults, home = Faults(), net[net.aggregator]

    def go(until_round: int) -> None:
        net.run(approve=approve_all, actor=faults.act, until_round=until_round)

    go(3)
    faults.set(CAROL, Fault("absent", from_round=4))
    go(4)
    change_settings(home, PROJECT, learning_rate=0.05)
    faults.set(EVE, Fault("NaN", from_round=5))
    go(5)
    faults.clear()
    go(6)
    change_settings(home, PROJECT, epoch=2)
    go(7)
    for email in (CAROL, EVE):
        faults.set(email, Fault("absent", from_round=8))
    # one pass for the plan and its models, one for the updates: the round goes on
    for _ in range(2):
        net.advance(approve_all, actor=faults.act)
    return net


def publish(site: Datasite, project: str = PROJECT, **files: Any) -> None:
    """Write public files: a text as it stands, anything else as JSON."""
    for name, value in files.items():
        path = site.public / "fl" / project / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def person(email: str = ALICE, ready: str = "cad", sent: str = "0/3", doing: str = "N/A") -> Any:
    """A row of participants.json. ready : of client there, approved, data there."""
    return {
        "Email": email,
        "Fl Client Installed": "c" in ready,
        "Project Approved": "a" in ready,
        "Added Private Data": "d" in ready,
        "Round (current/total)": sent,
        "Training Progress": doing,
    }


def metrics(*accuracies: float) -> list[dict[str, float]]:
    return [{"round": n, "accuracy": value} for n, value in enumerate((0, *accuracies))]


def headline(page: Any, text: str) -> None:
    page.locator(".headline", has_text=text).wait_for()


def column(page: Any, table: str, title: str) -> list[str]:
    """A column of a table, as somebody who hears the page finds it."""
    found = page.get_by_role("table", name=table)
    titles = found.get_by_role("columnheader").all_inner_texts()
    cells = [row.locator("td").all_inner_texts() for row in found.locator("tbody tr").all()]
    return [row[titles.index(title)] for row in cells]


# ------------------------------------------------------------------------------------ a run goes on
def test_the_page_follows_a_run(watched: Any, tmp_path: Path) -> None:
    page, net = watched, network(tmp_path)
    with Server(net[net.aggregator], 0) as server:
        page.goto(server.url)
        headline(page, "Waiting for the first project")
        page.evaluate("window.loaded = 'once'")

        net.launch(small(rounds=3))
        net.run()
        headline(page, "Waiting for approval")
        assert ALICE in page.locator(".detail").inner_text()
        assert column(page, "Participants", "Approved") == ["– no", "– no"]
        assert page.locator("#accuracy .dot").count() == 0

        net.run(approve=approve_all, until_round=1)
        headline(page, "Round 2 of 3")
        assert column(page, "Participants", "Approved") == ["✓ yes", "✓ yes"]
        assert column(page, "Participants", "Latest update") == ["round 1", "round 1"]
        assert page.locator("#accuracy .dot").count() == 1
        page.set_viewport_size({"width": 1280, "height": 400})
        page.evaluate("window.row = document.querySelector('#people tbody tr'); scrollTo(0, 300)")

        assert net.run(approve=approve_all).done
        headline(page, "Done: 3 rounds")
        assert page.evaluate("[loaded, row.isConnected, scrollY]") == ["once", True, 300]
        history = net.history()
        assert column(page, "Rounds in numbers", "Accuracy") == [
            f"{100 * a:.1f}%" for a in history.accuracies
        ]
        assert column(page, "Rounds in numbers", "Loss") == [f"{r.loss:.3f}" for r in history]
        # the curve has the form of the numbers: the higher the accuracy, the nearer to the top
        dots = [float(dot.get_attribute("cy")) for dot in page.locator("#accuracy .dot").all()]
        top, bottom = (
            float(page.locator(f"#accuracy {line}").first.get_attribute("y1"))
            for line in (".grid >> nth=-1", ".axis")
        )
        drawn = [(bottom - dot) / (bottom - top) for dot in dots]
        assert drawn == pytest.approx(history.accuracies, abs=0.01)
        said = page.get_by_role("img", name="accuracy by round").get_attribute("aria-label")
        assert f"{100 * history.accuracies[-1]:.1f}% after round 3 of 3" in said


def test_bytes_are_those_of_the_ledger(watched: Any, eventful: Network) -> None:
    page = watched
    with Server(eventful[eventful.aggregator], 0) as server:
        page.goto(server.url)
        headline(page, "Round 8 of 10")
        found = page.evaluate(READ)["traffic"]
        shown = page.locator("#tiles > div").nth(2).inner_text()
    crossed = [entry for entry in eventful.ledger() if entry.path.endswith(".pt")]
    rounds = re.compile(r"(?:agg_model|trained_model)_round_(\d+)\.pt$")
    sizes = {"out": 0, "into": 0}
    for entry in crossed:
        number = int(rounds.search(entry.path)[1])
        way = "out" if entry.sender == eventful.aggregator else "into"
        if way == "out" or number <= 7:  # what the page counts: rounds that are over
            sizes[way] += entry.size
    assert found == pytest.approx(sizes, rel=0.02)
    assert f"{(found['out'] + found['into']) / 1e6:.1f} MB" in shown


# --------------------------------------------------------------------------------- where it stands
STATES = [
    ((None, None, None), "none", "Nothing published yet", ""),
    ((metrics(), [person(ready="c")], None), "waiting", "approval", f"{ALICE}: look at"),
    ((metrics(), [person(ready="")], None), "waiting", "participants", f"{ALICE}: start"),
    # the real aggregator does not always know of the client that has approved
    ((metrics(), [person(ready="a")], None), "waiting", "private data", f"{ALICE}: put"),
    (
        (metrics(), [person(), person(BOB, "c")], None),
        "waiting",
        "approval",
        f"{BOB}: look at",
    ),
    # a quorum is enough: it does not wait for Bob
    (
        (metrics(), [person(doing="Training Started for Round 1"), person(BOB, "c")], None),
        "running",
        "Round 1 of 3",
        f"Training now: {ALICE}",
    ),
    ((metrics(), [person()], None), "running", "Round 1 of 3", "No update"),
    (
        (metrics(0.5), [person(sent="2/3"), person(BOB, sent="1/3")], None),
        "running",
        "Round 2 of 3",
        "1 update of this round has arrived",
    ),
    ((metrics(0.5, 0.6, 0.7), [person(sent="3/3")], None), "done", "3 rounds", "70.0%"),
    ((metrics(0.5), None, {"rounds": 1, "history": []}), "done", "1 round", "50.0%"),
    ((metrics(0.5), None, None), "running", "Round 2 is under way", ""),  # of how many, nobody says
    (("x", 3, [[]]), "running", "Round 1", ""),
    (
        ([None, {"round": -1}, {"round": "1"}, {"round": 1, "accuracy": "<b>"}], {}, {"rounds": 2}),
        "running",
        "Round 2 of 2",
        "",
    ),
]


def test_every_state_has_its_words(watched: Any, tmp_path: Path) -> None:
    with Server(Datasite.create(tmp_path, ALICE), 0) as server:
        watched.goto(server.url)
        for files, kind, words, detail in STATES:
            found = watched.evaluate(READ, list(files))
            assert (found["kind"], words in found["headline"]) == (kind, True), (files, found)
            assert detail in found["detail"], (files, found)


TRAINS, TRAINED = (
    "Training InProgress for Round 2 (Curr Epoc: 3/10)",
    "Training Completed for Round 2",
)
NOW = [
    ((metrics(), [person(ready="c")], None), ALICE, "looks at the request and answers", "asked"),
    ((metrics(), [person(ready="")], None), ALICE, "starts the client", "asked"),
    ((metrics(), [person(ready="a")], None), ALICE, "puts training data into", "people"),
    (
        (metrics(0.5), [person(sent="1/3", doing=TRAINS), person(BOB, sent="1/3")], None),
        ALICE,
        "trains in round 2 (epoch 3 of 10)",
        "round",
    ),
    (
        (metrics(0.5), [person(sent="1/3", doing=TRAINS)] * 2, None),
        f"{ALICE}, {ALICE}",
        f"train in round 2 ({ALICE} in epoch 3 of 10,",
        "round",
    ),
    (
        (metrics(0.5), [person(sent="2/3", doing=TRAINED), person(BOB, sent="1/3")], None),
        BOB,
        "takes part in round 2: trains, then sends an update",
        "round",
    ),
    (
        (metrics(0.5), [person(sent="2/3"), person(BOB, sent="2/3")], None),
        "the aggregator",
        "averages and measures round 2",
        "people",
    ),
    ((metrics(0.5, 0.6, 0.7), [person(sent="3/3")], None), "", "", "ended"),
    ((None, None, None), "the aggregator", "launches the project", ""),
]


def test_who_acts_now_and_at_which_step(watched: Any, tmp_path: Path) -> None:
    with Server(Datasite.create(tmp_path, ALICE), 0) as server:
        watched.goto(server.url)
        for files, who, step, began in NOW:
            found = watched.evaluate(READ, list(files))
            assert (found["who"], found["began"]) == (who, began), found
            assert found["step"].startswith(step), found
            assert found["ago"].endswith("(1 h 2 min)")


def test_the_page_says_what_is_done_now_and_since_when(
    watched: Any, eventful: Network, tmp_path: Path
) -> None:
    """Round 8: two have sent their updates, two are absent; it began when its plan was written."""
    page, home = watched, eventful[eventful.aggregator]
    plan = home.aggregator().project(PROJECT).plan(8)
    (told,) = projects(home)["projects"]
    assert told["times"]["round"] == pytest.approx(plan.stat().st_mtime)
    assert told["times"]["asked"] <= told["times"]["ended"] <= told["times"]["people"]
    long_ago = plan.stat().st_mtime - 4 * 60
    page.set_viewport_size({"width": 1000, "height": 1000})
    with Server(home, 0) as server:
        page.goto(server.url)
        now = page.locator("#now")
        now.filter(has_text="since").wait_for()
        assert now.locator(".who").inner_text() == f"{CAROL}, {EVE}"
        assert now.locator(".step").inner_text().startswith("take part in round 8")
        assert re.search(r"since \d\d:\d\d:\d\d.* \(\d+ (s|min)\)", now.inner_text())
        first = now.locator(".since").inner_text()
        page.wait_for_function(
            "before => document.querySelector('#now .since').textContent !== before", arg=first
        )  # time goes on while no file changes
        for folder in (plan.parent, home.public / "fl" / PROJECT):
            for path in folder.iterdir():
                os.utime(path, (long_ago, long_ago))
        now.filter(has_text=re.compile(r"\([4-9] min\)")).wait_for()
        SHOTS.mkdir(parents=True, exist_ok=True)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=SHOTS / f"dashboard-now-{scheme}.png")
            assert [w for w in looks.texts(page.locator("#status")) if w["ratio"] < 4.5] == []


def test_what_the_real_aggregator_publishes_is_enough(watched: Any, tmp_path: Path) -> None:
    site = Datasite.create(tmp_path, ALICE)
    people = [person(BOB, sent="2/3", doing="Training Completed for Round 2"), person(CAROL)]
    publish(site, accuracy_metrics=metrics(0.2746, 0.4502), participants=people)
    with Server(site, 0) as server:
        watched.goto(server.url)
        headline(watched, "Round 3 of 3")
        assert column(watched, "Rounds in numbers", "Accuracy") == ["27.5%", "45.0%"]
        assert column(watched, "Participants", "Doing now") == ["trained round 2", "–"]
        assert watched.locator("#accuracy .dot").count() == 2
        assert not watched.locator("#loss").is_visible()
        assert not watched.locator("#fates").is_visible()
        assert watched.get_by_text("publishes the accuracy only").is_visible()


def test_the_server_goes_and_comes_back(page: Any, tmp_path: Path) -> None:
    site = Datasite.create(tmp_path, ALICE)
    publish(site, accuracy_metrics=metrics(0.5), participants=[person()])
    server = Server(site, 0).start()
    page.goto(server.url)
    headline(page, "Round 2 of 3")
    alert = page.get_by_role("alert")
    assert alert.inner_text() == ""
    server.stop()
    alert.filter(has_text="does not answer").wait_for()
    assert page.locator(".live").inner_text() == "no answer"
    assert page.locator("#accuracy .dot").count() == 1, "what it knew is gone"
    publish(site, accuracy_metrics=metrics(0.5, 0.6))
    with Server(site, server.port):
        headline(page, "Round 3 of 3")
        assert alert.inner_text() == ""
        assert page.locator(".live").inner_text() == "live"


def test_half_a_file_is_read_again(watched: Any, tmp_path: Path) -> None:
    site = Datasite.create(tmp_path, ALICE)
    publish(site, accuracy_metrics=metrics(0.5), participants=[person()])
    with Server(site, 0) as server:
        watched.goto(server.url)
        headline(watched, "Round 2 of 3")
        whole = json.dumps(metrics(0.5, 0.6))
        publish(site, accuracy_metrics=whole[:30], participants=[person(doing="Sleeping")])
        watched.get_by_role("cell", name="Sleeping").wait_for()
        headline(watched, "Round 2 of 3")
        publish(site, accuracy_metrics=whole)
        headline(watched, "Round 3 of 3")


def test_projects_are_chosen_with_the_keyboard(watched: Any, tmp_path: Path) -> None:
    page, site = watched, Datasite.create(tmp_path, ALICE)
    publish(site, "First", accuracy_metrics=metrics(0.5), participants=[person()])
    with Server(site, 0) as server:
        page.goto(server.url)
        headline(page, "Round 2 of 3")
        choice = page.get_by_label("Project", exact=True)
        assert not choice.is_visible()
        publish(site, "Second one", accuracy_metrics=metrics(0.5, 0.6), participants=[person()])
        choice.wait_for()
        assert page.get_by_role("heading", level=1).inner_text() == "First"
        page.keyboard.press("Tab")
        assert choice.evaluate("node => node === document.activeElement")
        page.keyboard.press("ArrowDown")
        headline(page, "Round 3 of 3")
        assert page.get_by_role("heading", level=1).inner_text() == "Second one"
        link = page.get_by_role("link", name="accuracy_metrics.json")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert link.evaluate("node => node === document.activeElement")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.go_back()
        headline(page, "Round 2 of 3")
        assert choice.input_value() == "First"
        page.goto(f"{server.url}#Second%20one")
        page.reload()
        headline(page, "Round 3 of 3")


def test_what_strangers_write_stays_text(watched: Any, tmp_path: Path) -> None:
    page, site = watched, Datasite.create(tmp_path, ALICE)
    evil = "<img src=/x onerror=window.pwned=1><script>window.pwned=1</script>"
    project = "it's 100% #1 & more"
    row = person(evil, doing=evil) | {"Round (current/total)": evil}
    publish(site, project, accuracy_metrics=metrics(0.5), participants=[row], history={evil: evil})
    with Server(site, 0) as server:
        page.goto(server.url)
        page.get_by_role("cell", name=evil).wait_for()
        assert page.get_by_role("heading", level=1).inner_text() == project
        assert page.evaluate("[window.pwned ?? null, document.images.length]") == [None, 1]
        page.get_by_role("link", name="history.json").click()
        assert json.loads(page.locator("body").inner_text()) == {evil: evil}


# -------------------------------------------------------------------------------------- how it looks
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable(watched: Any, eventful: Network, scheme: str) -> None:
    page = watched
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.emulate_media(color_scheme=scheme)
    with Server(eventful[eventful.aggregator], 0) as server:
        for size in (WIDE, PHONE):
            page.set_viewport_size(size)
            page.goto(server.url)
            headline(page, "Round 8 of 10")
            page.screenshot(
                path=SHOTS / f"dashboard-{scheme}-{size['width']}.png", full_page=size is PHONE
            )
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            texts = looks.texts(page.locator("body"))
            assert len(texts) > 60
            assert [t for t in texts if t["ratio"] < 4.5 or t["size"] < 11.9] == []
            # nothing that is drawn or written leaves its picture
            assert (
                page.evaluate("""[...document.querySelectorAll(".plot text, .plot rect")]
                .filter((node) => { const [a, b] = [node, node.ownerSVGElement].map(
                    (one) => one.getBoundingClientRect());
                    return a.width && (a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1
                        || a.bottom > b.bottom + 1); })
                .map((node) => node.outerHTML)""")
                == []
            )
        # on a phone the table is a stack of cards, and still a table
        assert len(column(page, "Participants", "Approved")) == 4
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) < 300) == (scheme == "dark")


def test_rounds_differ_by_more_than_colour(watched: Any, eventful: Network) -> None:
    page = watched
    with Server(eventful[eventful.aggregator], 0) as server:
        page.goto(server.url)
        headline(page, "Round 8 of 10")
        assert "2 updates of this round have arrived" in page.locator(".detail").inner_text()
        said = page.get_by_role("img", name="Updates by round").get_attribute("aria-label")
        assert "round 3: 4 averaged; round 4: 3 averaged, 1 absent" in said
        assert "round 5: 2 averaged, 1 refused, 1 absent" in said
        assert "round 8: 2 here so far" in said
        assert page.locator("#fates .hatch").count() == 1
        dashes = [
            page.locator(f"#fates .bar.{kind}").first.evaluate(
                "n => getComputedStyle(n).strokeDasharray"
            )
            for kind in ("averaged", "absent")
        ]
        assert dashes[0] == "none" != dashes[1]
        assert column(page, "Rounds in numbers", "Refused") == list("0000100")
        marks = page.locator("#accuracy .quiet").all_text_contents()
        assert marks == ["lr 0.05", "2 epochs"]
        # the pointer asks a picture for a round
        box = page.locator("#accuracy svg").bounding_box()
        page.mouse.move(box["x"] + 60, box["y"] + 100)
        first = column(page, "Rounds in numbers", "Accuracy")[0]
        assert page.locator("#accuracy .cursor-text").text_content() == f"round 1: {first}"


def test_it_prints_on_white(watched: Any, eventful: Network) -> None:
    page = watched
    page.emulate_media(color_scheme="dark")
    with Server(eventful[eventful.aggregator], 0) as server:
        page.goto(server.url)
        headline(page, "Round 8 of 10")
        page.emulate_media(color_scheme="dark", media="print")
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        )
        assert [t for t in looks.texts(page.locator("body")) if t["ratio"] < 4.5] == []
        assert not page.locator(".live").is_visible()
        assert page.pdf(format="A4").startswith(b"%PDF")
