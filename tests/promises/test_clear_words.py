"""Whatever is broken, the command line says it in one line that names file, field and remedy, ends with exit code 1 and
no traceback; and the project beside it goes through. What is broken in a launch, a request, a global model or data stands
in test_bad_input; here is what fedkit wrote itself, what a person wrote for a command, and how the commands end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.files import write_bytes
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.federation.network import Network
from fedkit.protocol import advance as node
from fedkit.protocol.approval import approve, approve_all, decline, pin_path
from fedkit.protocol.signing_keys import identity
from fedkit.rounds.history import History, read_history
from tests.support.cli import fedkit
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    LINEAR,
    complaint,
    launched,
    posix,
    put_launch,
    small,
    snapshot,
    solo,
    tutorial,
)

GOOD, BAD = "Good", "Bad"
ADDED = {"adjustable": ["learning_rate"]}


def mine(name: str, **changes: Any) -> FLConfig:
    alone = {"aggregator": ALICE, "participants": [ALICE], "rounds": 1}
    return small(project_name=name, **(alone | ADDED | changes))


@pytest.fixture
def site(tmp_path: Path) -> Datasite:
    """Two projects, launched and approved; neither has begun."""
    made = solo(tmp_path / "data")
    for name in (GOOD, BAD):
        put_launch(made, mine(name))
        node.advance(made)
        approve(made, name)
    return made


def once(site: Datasite, code: int) -> str:
    """What `fedkit client --once` says."""
    place = site.data_dir.parent / "config.json"
    owner = ("--email", site.email, "--data-dir", site.data_dir, "--port", 8080)
    return fedkit("client", *owner, "--config-path", place, "--once", code=code)


def one_line(output: str, *words: str) -> str:
    """The one line that has the first word, the file; it has the others too, a remedy, and nothing to be afraid of."""
    assert "Traceback" not in output
    assert "did not expect this" not in output, output
    lines = [line for line in output.splitlines() if words[0] in line and " -> " in line]
    assert len(lines) == 1, output
    for word in words:
        assert word in lines[0], lines[0]
    assert len(lines[0]) < 900
    assert lines[0].isprintable()
    return lines[0]


def text(value: object) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


DEEP = b"[" * 3000 + b"]" * 3000
PART = {"participant": ALICE, "weight": 1.0, "num_samples": 3, "loss": 1.0, "norm": 1.0}
RECORD = {"round": 1, "contributions": [PART | {"sha256": "x"}], "absent": [], "accuracy": 0.5}
PLAN = {"round": 1, "learning_rate": 0.1, "epoch": 1, "participants": [ALICE]}
SPENT = {"project": "P", "data": "0" * 12, "delta": 1e-5, "mechanism": [0.1, 1.0, 3]}
POLICY = {"unit": "example", "epsilon": 1, "delta": 1e-5, "secure_noise": False}
HASHES = {"fl_config.json": "0" * 64, "model.py": "0" * 64}

Where = Callable[[Datasite], Path]


def at_aggregator(name: str) -> Where:
    return lambda site: site.aggregator().project(BAD).path / name


def at_client(name: str) -> Where:
    return lambda site: site.client().project(BAD).path / name


def private(name: str) -> Where:
    return lambda site: site.private_client / name


def pinned(site: Datasite) -> Path:
    return pin_path(site, BAD)


plan, record = at_aggregator("rounds/plan_1.json"), at_aggregator("rounds/round_1.json")
settings = at_aggregator("settings.json")
OWN: list[tuple[str, Where, object, tuple[str, ...]]] = [
    ("plan torn", plan, b'{"round": 1, "lea', ("plan_1.json", "no plan", "remove it")),
    ("plan empty", plan, b"", ("plan_1.json", "no plan", "remove it")),
    ("plan deep", plan, DEEP, ("plan_1.json", "no plan", "remove it")),
    ("plan a list", plan, [1], ("plan_1.json", "no plan", "remove it")),
    ("plan without epoch", plan, {"round": 1}, ("plan_1.json", "learning_rate", "remove it")),
    ("plan epoch text", plan, PLAN | {"epoch": "1"}, ("plan_1.json", "epoch", "remove it")),
    ("plan rate 0", plan, PLAN | {"learning_rate": 0}, ("plan_1.json", "learning_rate", "remove")),
    ("plan rate huge", plan, PLAN | {"learning_rate": 10**400}, ("plan_1.json", "learning_rate")),
    ("plan of 2", plan, PLAN | {"round": 2}, ("plan_1.json", "round 1", "remove it")),
    ("plan strangers", plan, PLAN | {"participants": [BOB]}, ("plan_1.json", "participants")),
    ("plan a path", plan, PLAN | {"participants": ["../.."]}, ("plan_1.json", "participants")),
    ("plan numbers", plan, PLAN | {"participants": [4.5]}, ("plan_1.json", "participants")),
    ("plan lists", plan, PLAN | {"participants": [[]]}, ("plan_1.json", "participants")),
    ("plan twice", plan, PLAN | {"participants": [ALICE, ALICE]}, ("plan_1.json", "participants")),
    ("record torn", record, b'{"round"', ("round_1.json", "no record", "restore")),
    ("record null", record, None, ("round_1.json", "no record", "restore")),
    ("record of 2", record, RECORD | {"round": 2}, ("round_1.json", "round", "restore")),
    ("record names", record, RECORD | {"absent": [[1]]}, ("round_1.json", "absent", "restore")),
    ("record NaN", record, b'{"round": 1, "contributions": [], "absent": [], "loss": NaN}',
     ("round_1.json", "loss", "restore")),
    ("record text", record, RECORD | {"accuracy": "high"}, ("round_1.json", "accuracy", "restore")),
    ("record key", record, RECORD | {"x": 1}, ("round_1.json", "x", "restore")),
    ("record part", record, RECORD | {"contributions": [{"participant": 1}]},
     ("round_1.json", "contributions", "restore")),
    ("settings torn", settings, b"{", ("settings.json", "remove it")),
    ("settings a list", settings, [], ("settings.json", "adjustable", "remove it")),
    ("settings other", settings, {"rounds": 9}, ("settings.json", "adjustable", "remove it")),
    ("settings rate", settings, {"learning_rate": -1}, ("settings.json", "learning_rate", "0.1")),
    ("approval torn", pinned, b'{"sha', (f"{BAD}.json", "no approval", "approve anew")),
    ("approval empty", pinned, {}, (f"{BAD}.json", "sha256", "approve anew")),
    ("approval number", pinned, {"sha256": HASHES | {"model.py": 4}}, (f"{BAD}.json", "sha256")),
    ("approval part", pinned, {"sha256": {"model.py": "0"}}, (f"{BAD}.json", "sha256", "anew")),
    ("approval other", pinned, {"sha256": HASHES}, ("fl_config.json", "has changed since")),
    ("model gone", at_client("model.py"), ..., ("model.py", "is not there", "->")),
    ("config gone", at_aggregator("fl_config.json"), ..., ("fl_config.json", "is not there")),
]  # fmt: skip


def ids(row: tuple[Any, ...]) -> str:
    return str(row[0])


@pytest.mark.parametrize("row", OWN, ids=ids)
def test_what_fedkit_wrote_itself_and_can_not_read_any_more(site: Datasite, row: Any) -> None:
    _, where, content, words = row
    path = where(site)
    if content is ...:
        path.unlink()
    else:
        write_bytes(path, text(content))
    before = path.read_bytes() if content is not ... else b""
    one_line(once(site, 1), *words)
    assert site.aggregator().project(GOOD, "done").global_model(1).is_file()
    assert site.client().project(GOOD, "done").path.is_dir()
    assert not site.aggregator().project(BAD, "done").path.exists()
    if content is not ...:
        assert path.read_bytes() == before  # a file that nobody understands is not written over
    problem = fedkit("status", "--config-path", site.data_dir.parent / "config.json")
    assert "Traceback" not in problem
    if row[0].split()[0] != "settings":  # read when a round begins, which `status` does not do
        assert words[0] in problem


FOR_ALL: list[tuple[str, Where, object, tuple[str, ...]]] = [
    ("policy torn", private("policy.json"), b"{", ("policy.json", "not valid JSON", "correct")),
    ("policy key", private("policy.json"), POLICY | {"x": 1}, ("policy.json", "x", "correct")),
    ("policy epsilon", private("policy.json"), POLICY | {"epsilon": -1}, ("policy.json", "epsilon")),
    ("policy deep", private("policy.json"), b'{"unit": ' + DEEP + b"}", ("policy.json", "JSON")),
]  # fmt: skip


@pytest.mark.parametrize("row", FOR_ALL, ids=ids)
def test_a_policy_that_can_not_be_read_lets_nothing_train_and_is_said(
    site: Datasite, row: Any
) -> None:
    _, where, content, words = row
    write_bytes(where(site), text(content))
    output = once(site, 1)
    assert "Traceback" not in output
    assert "did not expect this" not in output
    lines = [line for line in output.splitlines() if words[0] in line]
    assert lines
    for line in lines:
        assert all(word in line for word in words), line
    assert not site.client().project(GOOD).trained(1).exists()


@posix
def test_a_policy_that_is_a_link_nowhere_is_no_missing_policy(site: Datasite) -> None:
    (site.private_client / "policy.json").symlink_to("nowhere")
    output = once(site, 1)
    assert "policy.json: is a link" in output
    assert not site.client().project(GOOD).trained(1).exists()


SPENDINGS = {
    "torn": b"{",
    "no mechanism": {"project": "P", "data": "0" * 12},
    "short": SPENT | {"mechanism": [1]},
    "texts": SPENT | {"mechanism": ["a", "b", "c"]},
    "steps a float": SPENT | {"mechanism": [0.1, 1.0, 1.5]},
    "rate 0": SPENT | {"mechanism": [0, 1.0, 3]},
    "delta": SPENT | {"delta": "x"},
    "no delta": {key: value for key, value in SPENT.items() if key != "delta"},
    "data a path": SPENT | {"data": "../../x"},
    "project": SPENT | {"project": 3},
    "deep": DEEP,
}


@pytest.mark.parametrize("kind", SPENDINGS)
def test_what_was_spent_and_can_not_be_read_is_named_and_declines_nobody(
    tmp_path: Path, kind: str
) -> None:
    """What was spent is unknown then: nothing trains, and the owner hears which file to restore."""
    network = launched(tmp_path, dp={"unit": "example", "epsilon": 4, "delta": 1e-5, "clip": 1.0})
    bob = network[BOB]
    (bob.private_client / "policy.json").write_text(json.dumps(POLICY | {"epsilon": 9}))
    path = bob.private_client / "spent" / BOB / "P.0.json"
    write_bytes(path, text(SPENDINGS[kind]))
    history = network.run(approve=approve_all)
    said = "\n".join(str(getattr(event, "error", "")) for event in history.waiting)
    (line,) = {line for line in said.splitlines() if line}
    assert "P.0.json" in line
    assert " -> " in line
    assert "did not expect" not in line
    assert not (bob.client().path / "declined").exists()


# ------------------------------------------------------------------------------ what a person wrote
def written(path: Path, content: object) -> Path:
    write_bytes(path, text(content))
    return path


def config_json(**changes: Any) -> dict[str, Any]:
    return {"data_dir": "data", "email": ALICE, "client_url": "http://localhost:8080"} | changes


COMMANDS: list[tuple[str, str, object, list[str], tuple[str, ...]]] = [
    ("config torn", "config.json", b"{", ["status", "--config-path", "{}"],
     ("config.json", "not valid JSON", "correct")),
    ("config a list", "config.json", [], ["status", "--config-path", "{}"], ("config.json", "list")),
    ("e-mail", "config.json", config_json(email="x"), ["status", "--config-path", "{}"],
     ("config.json", "email", "alice@example.org")),
    ("e-mail deep", "config.json", b'{"data_dir": "d", "email": ' + b"[" * 400 + b"]" * 400 + b"}",
     ["status", "--config-path", "{}"], ("config.json", "deep", "flatten")),
    ("data dir", "config.json", config_json(data_dir=7), ["status", "--config-path", "{}"],
     ("config.json", "data_dir", "path")),
    ("port", "config.json", config_json(client_url="x"), ["status", "--config-path", "{}"],
     ("config.json", "client_url", "http://localhost:8080")),
    ("port no digit", "config.json", config_json(client_url="x:\u00b2"),
     ["status", "--config-path", "{}"], ("config.json", "client_url", "http://localhost:8080")),
    ("port huge", "config.json", config_json(client_url="x" * 10**5),
     ["approve", "P", "--config-path", "{}"], ("config.json", "client_url", "http://")),
    ("env", ".env", b"EMAIL=\nPORT=1\n", ["client", "--env-file", "{}"], (".env", "EMAIL", "write")),
    ("env bytes", ".env", b"\xff\xfe\0", ["client", "--env-file", "{}"], (".env", "UTF-8")),
    ("run config", "fl_config.json", tutorial(rounds="3"),
     ["run", "{}", "--out", "{out}"], ("fl_config.json", "rounds", "whole number")),
    ("run config huge", "fl_config.json", tutorial(aggregator=[10**300] * 1000),
     ["run", "{}", "--out", "{out}"], ("fl_config.json", "aggregator", "quotes")),
    ("run signs", "fl_config.json", tutorial(dp={"\x1b[2J\n": 1}),
     ["run", "{}", "--out", "{out}"], ("fl_config.json", "dp", "->")),
    ("sweep torn", "spec.yaml", b"run: [", ["sweep", "{}", "--out", "{out}"], ("spec.yaml", "YAML")),
    ("sweep code", "spec.yaml", b"!!python/object/apply:os.system [x]",
     ["sweep", "{}", "--out", "{out}"], ("spec.yaml", "YAML", "correct")),
    ("sweep deep", "spec.yaml", b"[" * 5000, ["sweep", "{}", "--out", "{out}"], ("spec.yaml", "->")),
    ("sweep key", "spec.yaml", b"run: simulate\n? [1]\n: 2\n", ["sweep", "{}", "--out", "{out}"],
     ("spec.yaml", "->")),
    ("sweep many", "spec.yaml", b"run: simulate\nseeds: 1000000000000\n",
     ["sweep", "{}", "--out", "{out}"], ("spec.yaml", "seeds", "->")),
    ("sweep grid", "spec.yaml", b"run: simulate\ngrid: {rounds: [" + b"1, " * 4000
     + b"1], epoch: [" + b"1, " * 4000 + b"1], alpha: [" + b"1, " * 4000 + b"1]}",
     ["sweep", "{}", "--out", "{out}"], ("spec.yaml", "grid", "at most")),
    ("sweep run", "spec.yaml", b"run: \xc2\xb2\n", ["sweep", "{}", "--out", "{out}"], ("spec.yaml", "run")),
    ("sweep nul", "spec.yaml", b'run: "a\\0b.ipynb"\n', ["sweep", "{}", "--out", "{out}"],
     ("spec.yaml", "run")),
    ("sweep NaN", "spec.yaml", b"run: simulate\nfixed: {learning_rate: .nan}\n",
     ["sweep", "{}", "--out", "{out}"], ("spec.yaml", "learning_rate", "->")),
    ("sweep date", "spec.yaml", b"run: simulate\nfixed: {rounds: 2020-99-99}\n",
     ["sweep", "{}", "--out", "{out}"], ("spec.yaml", "->")),
    ("workspace", "out/network/network.json", b"{", ["run", "--out", "{out}"], ("out", "->")),
    ("run.json", "out/run.json", {"config": 5, "full": []}, ["run", "--out", "{out}"], ("out", "another run")),
    ("run.json torn", "out/run.json", b"{", ["run", "--out", "{out}"], ("out", "not empty", "--out")),
]  # fmt: skip


@pytest.mark.parametrize("row", COMMANDS, ids=ids)
def test_what_a_person_wrote_for_a_command(tmp_path: Path, row: Any) -> None:
    _, name, content, command, words = row
    path = written(tmp_path / name, content)
    before = snapshot(tmp_path)
    out = tmp_path / "out"
    one_line(fedkit(*(part.format(path, out=out) for part in command), code=1), *words)
    assert snapshot(tmp_path) == before


# -------------------------------------------------------------------------- networks and their files
NETWORKS: dict[str, tuple[object, str]] = {
    "torn": (b"{", "describes no network"),
    "numbers": ({"aggregator": 4, "participants": [BOB], "app_data": "app_data"}, "no network"),
    "a number among them": (
        {"aggregator": ALICE, "participants": [BOB, 0.5], "app_data": "app_data"},
        "no network",
    ),
    "a text": ({"aggregator": ALICE, "participants": BOB, "app_data": "app_data"}, "no network"),
    "no e-mail": ({"aggregator": "x", "participants": [BOB], "app_data": "app_data"}, "email"),
    "app data": ({"aggregator": ALICE, "participants": [BOB], "app_data": "x"}, "app_data"),
    "two spellings": (
        {"aggregator": ALICE, "participants": [BOB, BOB.upper()], "app_data": "app_data"},
        "upper and lower case",
    ),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_file_that_says_something_else(tmp_path: Path, kind: str) -> None:
    content, says = NETWORKS[kind]
    written(tmp_path / "network.json", content)
    error = complaint(lambda: Network.open(tmp_path))
    assert says in str(error)
    assert error.file == tmp_path / "network.json"


LINES = [
    b"",
    b"{",
    b"[]",
    b"[" * 5000,
    b'{"sender": 1, "receiver": [], "path": {}, "size": "x", "sha256": null, "time": "now"}',
    b'{"sender": "a", "receiver": "b", "path": "c", "size": 1e999, "sha256": "", "time": 0}',
    b'{"sender": "a", "receiver": "b", "path": "c", "size": -1, "sha256": "", "time": 0}',
    b'{"sender": "a", "receiver": "b", "path": "c", "size": 1, "sha256": "", "time": NaN}',
    b"\xff\xfe\x00",
]


def test_a_ledgers_broken_lines_are_left_out(tmp_path: Path) -> None:
    network = launched(tmp_path, rounds=1)
    assert network.run(approve=approve_all).done
    ledger = tmp_path / "ledger.jsonl"
    whole = network.ledger()
    lines = ledger.read_bytes().splitlines()
    ledger.write_bytes(b"\n".join([*LINES, *lines[:5], *LINES, *lines[5:], *LINES]))
    assert Network.open(tmp_path).ledger() == whole
    assert Network.open(tmp_path).run().done


MEMORIES = [b"{", b"[]", b'{"%s": {"x": [1e999, 1, 1, "x"]}}' % ALICE.encode(), DEEP]


@pytest.mark.parametrize("content", MEMORIES, ids=["torn", "a list", "endless", "deep"])
def test_a_syncs_broken_memory_is_no_memory(tmp_path: Path, content: bytes) -> None:
    network = launched(tmp_path, rounds=1)
    network.run(approve=approve_all, until_round=0)
    for site in network.sites.values():
        (site.own / "sync.json").write_bytes(content)
    assert Network.open(tmp_path).run(approve=approve_all).done


HISTORIES: list[object] = [
    *(b"{", [], {"rounds": 3}, {"project": "P", "rounds": [], "total_rounds": "x"}),
    {"project": "P", "rounds": {}, "total_rounds": 1},
    {"project": "P", "rounds": [3], "total_rounds": 1},
    b'{"project": "P", "rounds": [], "total_rounds": 1e999}',
]


@pytest.mark.parametrize("number", range(len(HISTORIES)))
def test_a_history_that_is_none(tmp_path: Path, number: int) -> None:
    path = written(tmp_path / "history.json", HISTORIES[number])
    error = complaint(lambda: History.load(path))
    assert error.file == path


# ------------------------------------------------------------------------------------ masked rounds
def masked(root: Path) -> Network:
    """A masked round whose updates are in."""
    network = launched(root, secure_aggregation={"threshold": 2}, min_participants=2, rounds=1)
    home = network[AGGREGATOR].aggregator().project("MNIST_FL")
    while not (home.path / "rounds" / "secagg_1_dealt.json").is_file():
        network.advance(approve_all)
    return network


VAULT = ["secrets.json", "roster.json", "identities.json", "shares.msg"]
DECISIONS = ["roster", "dealt", "identities"]
BROKEN: list[bytes] = [b"", b"{", b"[]", b'{"%s": 5}' % BOB.encode(), b'{"x": "zz"}']


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("name", [*VAULT, *DECISIONS])
def test_a_masked_rounds_own_files_are_named_and_nothing_is_decided_twice(
    masked_files: dict[str, bytes], tmp_path: Path, name: str, content: bytes
) -> None:
    """Drawn or decided anew, a secret would serve two vectors, and their difference would be seen."""
    for path, data in masked_files.items():
        write_bytes(tmp_path / path, data)
    network = Network.open(tmp_path)
    home = network[AGGREGATOR].aggregator().project("MNIST_FL").path / "rounds"
    vault = network[BOB].private_client / "secagg" / BOB / "MNIST_FL" / "1"
    site = network[BOB if name in VAULT else AGGREGATOR]
    path = vault / name if name in VAULT else home / f"secagg_1_{name}.json"
    assert path.is_file()
    if (name, content) == ("identities.json", BROKEN[-1]):
        pytest.skip("who is not in it is looked up in public")
    path.write_bytes(content)
    (vault / "masked.msg").unlink(missing_ok=True)
    marks = vault.parents[2] / "secured" / f"{BOB}.json"
    marks.unlink(missing_ok=True)  # as if it had not left
    events = node.advance(site)
    texts = [str(event.error) for event in events if hasattr(event, "error")]
    assert texts
    assert all("did not expect" not in text and " -> " in text for text in texts), texts
    assert any(path.name in text or "identity" in text or "roster" in text for text in texts)
    assert path.read_bytes() == content


@pytest.fixture(scope="module")
def masked_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("masked")
    masked(root)
    found = [p for p in root.rglob("*") if p.is_file() and p.suffix != ".lock"]
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in found}


def test_a_signing_key_that_is_none(tmp_path: Path) -> None:
    site = Datasite.create(tmp_path, ALICE)
    identity(site)
    path = site.private_client / "keys" / f"{ALICE}.key"
    path.write_bytes(b"short")
    error = complaint(lambda: identity(site))
    assert error.file == path
    assert path.read_bytes() == b"short"


# --------------------------------------------------------------------------- what others may write
OTHERS: list[bytes] = [
    b'{"x": NaN, "y": [Infinity], "z": {"deep": [[[]]]}, "num_samples": 1e999}',
    b'{"model_train_progress": ' + b"[" * 400 + b"]" * 400 + b"}",
    b'{"dataset_added": NaN, "model_train_progress": NaN}',
    DEEP,
]


@pytest.mark.parametrize("content", OTHERS, ids=range(len(OTHERS)))
@pytest.mark.parametrize("name", ["state.json", "participants.json"])
def test_what_lies_in_a_public_place_never_stops_the_next_writing(
    site: Datasite, name: str, content: bytes
) -> None:
    """NaN is no JSON, and what was read once could not be written again."""
    places = {
        "state.json": site.client().project(BAD).state,
        "participants.json": site.public_results(BAD) / "participants.json",
    }
    write_bytes(places[name], content)
    output = once(site, 0)
    assert "PROBLEM" not in output
    assert site.aggregator().project(BAD, "done").path.is_dir()


def test_a_refusal_that_was_written_down_is_read_with_care(site: Datasite) -> None:
    put_launch(site, mine("Third"), model="x = 1")
    once(site, 1)
    path = site.own / "launching" / ALICE / "refused.json"
    told = json.loads(path.read_bytes())
    for error in (5, {}, {"what": []}, told["error"] | {"x": 1, "file": 7}):
        path.write_text(json.dumps(told | {"error": error}), encoding="utf-8")
        output = fedkit("status", "--config-path", site.data_dir.parent / "config.json")
        assert "did not expect" not in output


def test_two_spellings_of_a_project_at_a_participant(tmp_path: Path) -> None:
    """One folder on many machines: the second is named, and can be declined; the first goes on."""
    site = solo(tmp_path / "data")
    put_launch(site, mine(GOOD))
    node.advance(site)
    approve(site, GOOD)
    other = site.client().project(GOOD.upper(), "request").path
    small(project_name=GOOD.upper(), aggregator=BOB, participants=[ALICE]).save(
        other / "fl_config.json"
    )
    write_bytes(other / "model.py", LINEAR.encode())
    output = once(site, 1)
    one_line(output, f"request/{GOOD.upper()}", "upper and lower case", "decline")
    assert site.client().project(GOOD, "done").path.is_dir()
    decline(site, GOOD.upper(), "one of that name is there")
    once(site, 0)
    assert len(read_history(site, GOOD).rounds) == 1


@posix
def test_a_name_that_is_no_text_ends_no_command(site: Datasite) -> None:
    (site.client().request / os.fsdecode(b"\xff\xfe")).mkdir()
    output = once(site, 1)
    assert "Traceback" not in output
    assert site.client().project(GOOD, "done").path.is_dir()
