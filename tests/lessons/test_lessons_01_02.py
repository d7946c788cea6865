"""Lessons 01 and 02: their checks know right from wrong, and what their prose says is so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedkit as fk
from fedkit.teaching.check.lesson_01 import may_read, open_folder
from fedkit.teaching.check.lesson_02 import changed_files, model_size, valid_config
from tests.support.run_lesson import Run, run_into

ALICE, BOB = "alice@example.org", "bob@example.org"
MALLORY, AGGREGATOR = "mallory@example.org", "aggregator@example.org"


def run(name: str, edition: str, folder: Path) -> Run:
    return run_into(Run(), name, folder, edition, values=True)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Lesson 01, solved."""
    return run("01_datasite.py", "solutions", tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Lesson 02, solved."""
    return run("02_configure.py", "solutions", tmp_path_factory.mktemp("second"))


# ------------------------------------------------------------------------------- both, as a whole
def test_the_solutions_are_right(first: Run, second: Run) -> None:
    assert first.checks == {"may_read": "right", "open_folder": "right"}
    assert set(second.checks) == {"valid_config", "model_size", "changed_files"}
    assert set(second.checks.values()) == {"right"}


@pytest.mark.parametrize("name", ["01_datasite.py", "02_configure.py"])
def test_with_every_exercise_open_the_rest_is_the_same(
    name: str, tmp_path: Path, first: Run, second: Run
) -> None:
    """Run All of the learner's edition, twice in the same folder: the same lines, and every check open."""
    whole = first if name.startswith("01") else second
    for _ in range(2):
        learner = run(name, "learner", tmp_path)
        assert set(learner.checks.values()) == {"not yet"}
        here, there = learner.names["root"], whole.names["root"]
        assert learner.text.replace(str(here), "") == whole.text.replace(str(there), "")


# --------------------------------------------------------------------------------- checks, lesson 01
def right_reading(access: dict, email: str) -> bool:
    return any(who in (email, "*") for emails in access.values() for who in emails)


def reads_one_list(access: dict, email: str) -> bool:
    return email in access["read"] or "*" in access["read"]


def knows_no_star(access: dict, email: str) -> bool:
    return email in access["admin"] + access["write"] + access["read"]


def forgets_admins(access: dict, email: str) -> bool:
    return bool({email, "*"} & {*access["write"], *access["read"]})


def forgets_star_on_write(access: dict, email: str) -> bool:
    return "*" in access["read"] or knows_no_star(access, email)


def searches_text(access: dict, email: str) -> bool:
    return email in str(access) or "*" in str(access)


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        (right_reading, "right", "sync"),
        (lambda *asked: np.bool_(right_reading(*asked)), "right", "sync"),
        (reads_one_list, "try again", "write list"),
        (knows_no_star, "try again", "everybody"),
        (forgets_admins, "try again", "admin"),
        (forgets_star_on_write, "try again", "request folder"),
        (searches_text, "try again", "whole e-mails"),
        (lambda access, email: True, "try again", "Mallory"),
        (lambda access, email: False, "try again", "Bob"),
        (lambda access, email: "yes", "try again", "True or False"),
        (lambda access, email: ..., "not yet", "three lists"),
    ],
)
def test_may_read_knows_the_usual_mistakes(answer: Any, state: str, says: str) -> None:
    result = may_read(answer)
    assert result.state == state
    assert says in result.message


@pytest.mark.parametrize(
    ("rule", "state", "says"),
    [
        ({"read": [AGGREGATOR], "write": [BOB]}, "right", "no more"),
        ({"read": [AGGREGATOR, BOB], "write": [BOB]}, "right", "no more"),
        ({"read": [AGGREGATOR, BOB], "write": []}, "try again", "Bob can't put"),
        ({"read": [], "write": [BOB]}, "try again", "aggregator can't read"),
        ({"read": ["*"], "write": [BOB]}, "try again", "Mallory"),
        ({"read": [], "write": ["*"]}, "try again", "Mallory"),
        ({"read": [], "write": [BOB, AGGREGATOR]}, "try again", "aggregator writes"),
        ({"read": AGGREGATOR, "write": BOB}, "try again", "list of e-mails"),
        ({"reading": [AGGREGATOR], "write": [BOB]}, "try again", "keys"),
        ({"read": ..., "write": [BOB]}, "not yet", "each person"),
    ],
)
def test_open_folder_knows_the_usual_mistakes(rule: Any, state: str, says: str) -> None:
    result = open_folder(rule)
    assert result.state == state
    assert says in result.message


# --------------------------------------------------------------------------------- checks, lesson 02
REPAIRS = {
    "rounds": 3,
    "model_arch": "model.py",
    "epoch": 10,
    "learning_rate": 0.1,
    "participants": [ALICE, BOB],
}


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in REPAIRS.items() if name != key}


@pytest.mark.parametrize(
    ("repairs", "state", "says"),
    [
        (REPAIRS, "right", "same way"),
        (REPAIRS | {"learning_rate": 0.05}, "right", "same way"),
        *[(without(key), "try again", key) for key in REPAIRS],
        ({}, "try again", "rounds"),
        (REPAIRS | {"participants": [ALICE]}, "try again", "Alice and Bob"),
        (REPAIRS | {"rounds": 30}, "try again", "three rounds"),
        (REPAIRS | {"epoch": 1}, "try again", "ten epochs"),
        (REPAIRS | {"model_arch": "net.py"}, "try again", "model.py"),
        ([("rounds", 3)], "try again", "dict"),
        ({...}, "not yet", "first mistake"),
    ],
)
def test_valid_config_leads_from_one_mistake_to_the_next(
    second: Run, repairs: Any, state: str, says: str
) -> None:
    result = valid_config(second.names["broken"], repairs)
    assert result.state == state
    assert says in result.message


@pytest.mark.parametrize(
    ("weights", "size", "state", "says"),
    [
        (101_770, 407_080, "right", "407,080"),
        (101_770, 409_245, "right", "407,080"),  # the size of the file is as good an answer
        (101_632, 406_528, "try again", "bias"),
        (101_760, 407_040, "try again", "One of the two layers"),
        (100_352, 401_408, "try again", "both layers"),
        (101_770, 814_160, "try again", "float64"),
        (101_770, 101_770, "try again", "more than one"),
        (101_770, 4_070_800, "try again", "bytes"),
        (101_770, ..., "not yet", "pixels"),
    ],
)
def test_model_size_knows_the_usual_mistakes(
    weights: Any, size: Any, state: str, says: str
) -> None:
    result = model_size(weights, size)
    assert result.state == state
    assert says in result.message


def test_changed_files_knows_the_usual_mistakes(second: Run) -> None:
    digest = second.names["hashlib"].sha256

    def unchanged(approved: dict, contents: dict) -> list[str]:
        return [n for n, d in approved.items() if digest(contents[n]).hexdigest() == d]

    def looks_at_the_code_only(approved: dict, contents: dict) -> list[str]:
        same = digest(contents["model.py"]).hexdigest() == approved["model.py"]
        return [] if same else ["model.py"]

    def strips(approved: dict, contents: dict) -> set[str]:
        before = {digest(b"hidden = 128").hexdigest(), digest(b'{"rounds": 3}').hexdigest()}
        return {n for n in approved if digest(contents[n].strip()).hexdigest() not in before}

    for answer, says in (
        (unchanged, "Nothing has changed"),
        (looks_at_the_code_only, "space"),
        (strips, "space"),
        (lambda approved, contents: [], "same length"),
        (lambda approved, contents: True, "list of file names"),
        (lambda approved, contents: digest("text"), "TypeError"),
    ):
        result = changed_files(answer)
        assert result.state == "try again"
        assert says in result.message
    assert changed_files(lambda approved, contents: ...).state == "not yet"


# ------------------------------------------------------------------------------ what lesson 01 says
def test_the_command_of_lesson_01_makes_the_same_datasite(first: Run, tmp_path: Path) -> None:
    """`fedkit client --env-file .env --once` and the three cells give the same files."""
    cli = pytest.importorskip("fedkit.cli.main")
    from typer.testing import CliRunner

    env = (first.names["root"] / ".env").read_text(encoding="utf-8")
    home = tmp_path / first.names["home"]
    file = tmp_path / ".env"
    file.write_text(env, encoding="utf-8")
    result = CliRunner().invoke(cli.app, ["client", "--env-file", str(file), "--once"])
    assert result.exit_code == 0, result.output
    site = fk.Datasite.load(home / "config.json")
    alone = fk.Datasite.create(tmp_path / "alone", ALICE)
    folders = {
        p.relative_to(home) for p in home.rglob("*") if p.is_dir() and ".fedkit" not in p.parts
    }
    assert site.email == ALICE
    assert folders >= {
        p.relative_to(alone.data_dir)
        for p in alone.data_dir.rglob("*")
        if p.is_dir() and ".fedkit" not in p.parts
    }


def test_what_may_be_read_and_created_is_as_the_text_says(first: Run) -> None:
    may = fk.Permissions(first.names["alice"].datasites).may
    who = {
        (right, place.split("/", 1)[1].rpartition("/")[0]): {
            email for email in first.names["people"] if may(email, right, place)
        }
        for right in ("read", "create")
        for place in first.names["places"]
    }
    everybody = {ALICE, BOB, MALLORY, AGGREGATOR}
    box = "app_data/fl_client/"
    assert who["read", "public"] == everybody
    assert who["create", "public"] == {ALICE}
    assert who["read", box + "request"] == who["create", box + "request"] == everybody
    assert who["read", box + "running"] == who["create", box + "running"] == {ALICE}
    assert who["read", ""] == who["create", ""] == {ALICE}


def test_the_stranger_is_refused_and_the_letter_arrives(first: Run) -> None:
    assert "REFUSED alice@example.org/public/prize.txt" in first.text
    assert "At Mallory's: ['prize.syftrejected.txt']\nAt Alice's:   []" in first.text
    assert "0 files refused\nAt Alice's: ['prize.txt']" in first.text


def test_what_has_crossed_is_as_the_text_says(first: Run) -> None:
    ledger = first.names["network"].ledger()
    assert "with private content: []" in first.text
    assert "before: True - and after: False" in first.text
    # the slip: the threes reached the three others, the eights nobody
    assert {(e.receiver, e.path) for e in ledger if "mnist" in e.path} == {
        (who, f"{ALICE}/public/mnist_label_3.pt") for who in (BOB, MALLORY, AGGREGATOR)
    }
    assert not any("private" in entry.path for entry in ledger)
    letters = [e.size for e in ledger if e.receiver == AGGREGATOR and e.path.endswith("prize.txt")]
    assert letters == [13]
    assert 24 <= len(ledger) < 100


def test_the_quiz_of_lesson_01(first: Run) -> None:
    site: fk.Datasite = first.names["alice"]
    may = fk.Permissions(site.datasites).may
    plan = f"{ALICE}/drafts/plan.txt"
    assert may(BOB, "read", plan)
    assert not may(BOB, "write", plan)
    assert {e.receiver for e in first.names["network"].ledger() if e.path == plan} == {BOB}
    request = f"{ALICE}/app_data/fl_client/request"
    assert may(BOB, "write", f"{request}/letter.txt")
    assert not may(BOB, "write", f"{request}/syft.pub.yaml")
    kept = {p: p.read_bytes() for p in site.public.glob("*.yaml")}
    for path in kept:
        path.unlink()
    assert not fk.Permissions(site.datasites).may(BOB, "read", f"{ALICE}/public/hello.txt")
    for path, data in kept.items():
        path.write_bytes(data)


# ------------------------------------------------------------------------------ what lesson 02 says
def test_the_errors_name_file_key_and_remedy(second: Run) -> None:
    (said,) = [text for text in second.printed if "fl_config.json: participants" in text]
    errors = [line for line in said.splitlines() if line]
    assert len(errors) == 3
    for error, key in zip(errors, ("project_name", "epoch", "participants"), strict=True):
        assert error.startswith(f"fl_config.json: {key}")
        assert error.partition(" -> ")[2] not in ("", "correct it")
    with pytest.raises(fk.FedkitError, match="project_name"):
        fk.FLConfig.from_dict(second.names["wanted"] | {"project_name": "../MNIST_FL"})


def test_the_numbers_of_lesson_02(second: Run) -> None:
    names = second.names
    assert names["config"].rounds * names["config"].epoch == 30
    assert sum(tensor.numel() for tensor in names["seed_weights"].values()) == 101_770
    assert 407_080 < names["model_bytes"] < 410_000
    assert round(names["model_bytes"] / 1000) == 409
    assert "6 files have crossed" in second.text
    states = [e for e in names["network"].ledger() if e.path.endswith("state.json")]
    assert {(e.sender, e.receiver, e.size) for e in states} == {
        (who, AGGREGATOR, 64) for who in (ALICE, BOB)
    }


def test_launch_moves_everything_and_requests_are_two_files(second: Run) -> None:
    aggregator, network = second.names["aggregator"], second.names["network"]
    box = aggregator.aggregator()
    assert list(box.launch.iterdir()) == []
    there = {p.name for p in box.project("MNIST_FL").path.iterdir()}
    assert there >= {"fl_config.json", "model.py", "global_model_weight.pt", "fl_clients"}
    first_model = fk.read_state(box.project("MNIST_FL").global_model(0))
    assert all((first_model[n] == t).all() for n, t in second.names["seed_weights"].items())
    asked = [e for e in network.ledger() if "/request/MNIST_FL/" in e.path and e.receiver == ALICE]
    mine = [e.path.rpartition("/")[2] for e in asked if e.path.startswith(ALICE)]
    assert sorted(mine) == ["fl_config.json", "model.py"]


def test_a_changed_model_is_refused_and_the_restored_one_goes_on(second: Run) -> None:
    (refusal,) = [text for text in second.printed if "has changed since it was approved" in text]
    assert "model.py" in refusal
    assert "restore the approved file" in refusal
    after = second.printed[second.printed.index(refusal) + 1]
    assert "PROBLEM" not in after
    assert "training data" in after
    assert f"{AGGREGATOR} may not write it" in second.text


def test_bob_runs_what_he_approved_whatever_the_request_says_later(second: Run) -> None:
    network, bob = second.names["network"], second.names["bob"]
    letter = second.names["aggregator"].client(BOB).project("MNIST_FL", "request").path / "model.py"
    letter.write_text("raise SystemExit", encoding="utf-8")
    assert network.sync() == []
    assert (bob.client().request / "MNIST_FL" / "model.py").read_text() == "raise SystemExit"
    said = "\n".join(fk.render(event) for event in fk.advance(bob))
    assert "training data" in said
    assert "PROBLEM" not in said


def test_a_project_of_three_rounds_sends_the_model_fourteen_times(tmp_path: Path) -> None:
    mnist = fk.load_mnist()
    shards = fk.by_digits(
        mnist.train_images, mnist.train_labels, per_digit=4, generator=fk.generator(0, "few")
    )
    network = fk.Network.create(tmp_path, aggregator=AGGREGATOR, participants=[ALICE, BOB])
    for email, shard in zip((ALICE, BOB), shards, strict=True):
        network.give_data(email, shard)
    network.give_test(fk.as_float(mnist.test_images[:50]), mnist.test_labels[:50])
    config = fk.FLConfig(
        project_name="MNIST_FL",
        aggregator=AGGREGATOR,
        participants=(ALICE, BOB),
        rounds=3,
        epoch=1,
        learning_rate=0.1,
        model_arch="model.py",
        model_weight="global_model_weight.pt",
    )
    network.launch(config)
    assert network.run(approve=fk.approve_all).done
    models = [entry.size for entry in network.ledger() if entry.path.endswith(".pt")]
    assert len(models) == 14
    assert sum(models) / 1e6 == pytest.approx(5.7, abs=0.05)
