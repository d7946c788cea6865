"""Anything, anywhere: only what is said comes out, in bounded time and memory.

Configs, permission files, state files, weights and names, each mutated from real ones (see tests/support/mutations.py). The
budgets are CPU time and memory of Python for one look at one file; they are what was measured times five, at least.
`FEDKIT_FUZZ=100 pytest tests/promises/test_fuzz.py` looks at a hundred times as many files, and at others each time.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from fedkit.base.errors import FedkitError
from fedkit.base.events import Problem, render
from fedkit.base.files import write_bytes
from fedkit.base.names import check_email, check_file_name, check_name, folded, unfit
from fedkit.base.tensors import inspect_state, load_pair, load_state
from fedkit.base.text import one_line
from fedkit.config.client_config import ClientConfig
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import Permissions
from fedkit.datasite.round_plan import change_settings
from fedkit.federation.ledger import by_kind, crossings
from fedkit.federation.network import Network
from fedkit.protocol import advance as node
from fedkit.protocol.approval import answer, approve_all, decline
from fedkit.rounds.history import read_history
from fedkit.rounds.strategy import strategy_of
from tests.support.budget import budget
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    launched,
    linear_weights,
    network,
    put_launch,
    saved,
    small,
    tutorial,
)
from tests.support.helpers import (
    LINEAR as LINEAR_SOURCE,
)
from tests.support.mutations import (
    NAMES,
    fuzzed,
    mutated,
    mutated_bytes,
    mutated_tensors,
)

BAD = "Bad"

# CPU time in seconds: bounds against hangs, and the most that was measured in 20,000 examples of each kind.
NAME_CPU_S = 5  # 0.002
CONFIG_CPU_S = 5  # 0.002
LONG_CONFIG_CPU_S = (
    15  # 0.27: of 10,000 participants; compared with all others, it would be minutes
)
PERMISSIONS_CPU_S = 5  # 0.01
WEIGHTS_CPU_S = 20  # 0.78: of a pickle with 60,000 instructions
STATE_CPU_S = 20  # 0.87: a whole step of a datasite, which may train and average

# Bytes that Python takes at the same time for it.
NAME_BYTES = 2**18  # 10 kB, and now and then what a library keeps
CONFIG_BYTES = 2**21  # 210 kB
PERMISSIONS_BYTES = 2**20  # 110 kB
WEIGHTS_BYTES = 2**24  # 400 kB; with 60,000 instructions 3 MB
STATE_BYTES = 2**24  # 400 kB; of a file of 1 MiB more

LONGEST_LINE = 2000
"""Of an error: what a stranger wrote is quoted in part."""


def sound(error: FedkitError) -> None:
    """One line, not endless, that says what to do."""
    assert error.remedy, error
    line = one_line(error)
    assert len(line) < LONGEST_LINE
    assert line.isprintable()


# -------------------------------------------------------------------------------------------- names
CHECKS: list[Callable[[Any], str]] = [
    check_name,
    check_email,
    lambda value: check_file_name(value, (".pt", ".pth")),
]


@fuzzed(1500)
@given(NAMES)
def test_any_name(name: Any) -> None:
    for check in CHECKS:
        with budget(NAME_CPU_S, NAME_BYTES):
            try:
                passed = check(name)
            except ValueError as error:
                passed, said = None, str(error)
            else:
                said = "passes; so there is nothing to say"
        assert "; " in said
        assert len(said) < LONGEST_LINE
        if passed is not None:
            assert passed == name
            assert unfit(name) is None
    if isinstance(name, str):
        with budget(NAME_CPU_S, NAME_BYTES):
            why = unfit(name)
            assert folded(folded(name)) == folded(name)
        if why is None:
            assert name.encode()
            assert not set(name) & set('<>:"/\\|?*\0\n')


# ------------------------------------------------------------------------------------------- configs
EXAMPLE = {"unit": "example", "epsilon": 4, "delta": 1e-5, "clip": 1.0}
PERSON = {
    "unit": "participant",
    "noise_multiplier": 1.0,
    "delta": 1e-5,
    "clip": 1.0,
    "noise_at": "participants",
    "secure_noise": True,
}
CONFIGS = [
    tutorial(),
    tutorial(
        strategy={"name": "trimmed_mean", "beta": 0.1},
        dp=EXAMPLE,
        min_participants=2,
        max_samples=100,
        max_update_norm=3.0,
        round_timeout_s=5,
        approval="quorum",
        participants_per_round=2,
        adjustable=["learning_rate"],
        linger_s=3,
        seed=3,
        batch_size=8,
    ),
    tutorial(secure_aggregation={"threshold": 2}, dp=PERSON, weighting="equal"),
]


@fuzzed(700)
@given(st.sampled_from([json.dumps(values).encode() for values in CONFIGS]).flatmap(mutated))
def test_any_config(data: bytes) -> None:
    with budget(CONFIG_CPU_S, CONFIG_BYTES):
        try:
            config = FLConfig.parse(data, file=Path("fl_config.json"))
            assert FLConfig.parse(config.to_json()).to_json() == config.to_json()  # NaN is not NaN
            strategy_of(config)
        except FedkitError as error:
            sound(error)


def test_a_config_as_long_as_it_may_be(tmp_path: Path) -> None:
    """1 MiB, the most that is read: of names, of nothing, of one value."""
    many = [f"p{number}@example.org" for number in range(45_000)]
    for values in (
        tutorial(participants=many),
        tutorial(participants=[""] * 250_000),
        tutorial(**{f"k{number}": number for number in range(60_000)}),
        tutorial(project_name="x" * 10**6),
        tutorial(strategy={"name": "x" * 10**6}),
        tutorial(dp={f"k{number}": 1 for number in range(60_000)}),
    ):
        data = json.dumps(values).encode()
        assert len(data) < 2**20
        began = time.process_time()
        try:
            FLConfig.parse(data)
        except FedkitError as error:
            sound(error)
        assert time.process_time() - began < LONG_CONFIG_CPU_S


# ------------------------------------------------------------------------------------- permissions
WORDS = st.sampled_from(
    [
        *(
            "rules:",
            "- pattern: '**'",
            "  access:",
            "    read: ['*']",
            "    write: [bob@example.org]",
        ),
        *("- path: '**'", "  user: '*'", "  permissions: [read, write]", "  type: disallow"),
        *(
            "terminal: true",
            "terminal: 'yes'",
            "---",
            "...",
            "%YAML 9.9",
            "&a",
            "*a",
            "!!python/x y",
        ),
        *("? [1, 2]", ": x", "- {a: 1, a: 2}", "!!binary x", "!!timestamp 9", "2020-99-99", "0b2"),
        *(
            "[" * 100,
            "{" * 50,
            "- " * 40,
            "\t- x",
            "<<: {a: 1}",
            "\0",
            "\ufeff",
            "x" * 2000,
            "1e999",
        ),
        *("- path: '[a-'", "- pattern: '{a,{b,c}}**'", "- pattern: '(?='", "- pattern: '*' \\\\"),
        *(
            "- path: '" + "*" * 60 + "'",
            "- pattern: '" + "**/" * 30 + "x'",
            "- pattern: '{1..9999}'",
        ),
        *(
            "- pattern: '" + "{a,b}" * 12 + "'",
            "- path: '!(a)'",
            "- pattern: '" + "[!a]*" * 20 + "'",
        ),
    ]
)
PATTERNS = st.text("ab*?[]{}!,-/\\.^$()|+@~", max_size=24)
NEW_RULES = PATTERNS.map(
    lambda pattern: yaml.safe_dump({"rules": [{"pattern": pattern, "access": {"write": ["*"]}}]})
)
OLD_RULES = PATTERNS.map(
    lambda pattern: yaml.safe_dump([{"path": pattern, "user": "*", "permissions": ["read"]}])
)
REAL = b"rules:\n- pattern: '**'\n  access:\n    admin: [alice@example.org]\n    read: ['*']\n"
FILES = st.one_of(
    st.lists(WORDS, max_size=8).map(lambda lines: "\n".join(lines).encode()),
    st.binary(max_size=80),
    mutated_bytes(REAL),
    NEW_RULES.map(str.encode),
    OLD_RULES.map(str.encode),
)
KIND = st.sampled_from(["syft.pub.yaml", "syftperm.yaml", "_.syftperm"])


@fuzzed(500)
@given(FILES, KIND)
def test_any_permission_file(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, kind: str
) -> None:
    """Yes or no, never anything else; the owner may, and nobody outside the file's folder gets anything by it."""
    root = tmp_path_factory.getbasetemp() / "permissions"
    write_bytes(root / ALICE / "open" / kind, data)
    with budget(PERMISSIONS_CPU_S, PERMISSIONS_BYTES):
        permissions = Permissions(root)
        for path in ("open/a/b.txt", "open/aab", "open/[a]", f"open/{'ab/' * 20}x", "other/x"):
            for right in ("read", "create", "write", "admin"):
                assert permissions.may(ALICE, right, f"{ALICE}/{path}") is True  # type: ignore[arg-type]
                answered = permissions.may(BOB, right, f"{ALICE}/{path}")  # type: ignore[arg-type]
                assert answered in (True, False)
                assert not (answered and path == "other/x")
    shutil.rmtree(root)


# ------------------------------------------------------------------------------------------- weights
SHARED = torch.arange(6.0)
STATE = {
    "a.weight": torch.arange(12.0).reshape(3, 4),
    "n": torch.tensor(5),
    "tied": SHARED[1:4],
    "all": SHARED,
}
PAIR = (torch.zeros(2, 1, 28, 28), torch.tensor([1, 2]))
OLD_FORMAT = {"_use_new_zipfile_serialization": False}
TENSORS = [
    mutated_tensors(saved(value), saved(value, **OLD_FORMAT))
    for value in (STATE, PAIR, torch.nn.Linear(3, 2).state_dict())
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@fuzzed(600)
@given(st.one_of(TENSORS))
def test_any_weights(data: bytes) -> None:
    """Plain tensors no larger than allowed, or a refusal; what only looks says the same as what loads."""
    path, most = Path("u.pt"), 2**20
    with budget(WEIGHTS_CPU_S, WEIGHTS_BYTES):
        loads: list[Callable[..., Any]] = [load_state, load_pair]
        for load in loads:
            try:
                found = load(data, path, max_bytes=most)
            except FedkitError as error:
                sound(error)
                continue
            values = found.values() if isinstance(found, dict) else found
            assert all(type(value) is torch.Tensor for value in values)
            assert sum(value.numel() * value.element_size() for value in values) <= most
            if isinstance(found, dict):
                told = inspect_state(data, path, max_bytes=most)
                assert {name: tuple(value.shape) for name, value in found.items()} == {
                    name: shape for name, (_, shape) in told.items()
                }


@fuzzed(40)
@given(mutated_tensors(saved(linear_weights()), saved(linear_weights(), **OLD_FORMAT)))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_any_update(
    worlds: dict[str, dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """In the aggregator's inbox: it counts, is refused, or is waited for; never is anything unexpected."""
    files = worlds["plain"]
    (name,) = (n for n in files if n.startswith(AGGREGATOR) and n.endswith(f"{ALICE}/{UPDATE}"))
    step(tmp_path_factory, files, name, data)


UPDATE = "trained_model_round_2.pt"


# --------------------------------------------------------------------------------------- state files
def plain(root: Path) -> None:
    """In its second round: Alice has trained, Bob is late."""
    config = {"strategy": {"name": "scaffold"}, "adjustable": ["learning_rate"]}
    net = launched(root, project_name=BAD, rounds=3, min_participants=1, **config)
    net.run(approve=approve_all, until_round=1)
    change_settings(net[AGGREGATOR], BAD, learning_rate=0.05)
    for _ in range(2):
        net.advance(
            approve_all, actor=lambda site, go: None if site.email == BOB else go(), patient=True
        )


def masked(root: Path) -> None:
    """In the middle of a masked round."""
    secret = {"secure_aggregation": {"threshold": 2}, "min_participants": 2}
    net = launched(root, project_name=BAD, **secret)
    place = net[AGGREGATOR].aggregator().project(BAD).path / "rounds"
    while not (place / "secagg_1_survivors.json").is_file():
        net.advance(approve_all)


def private(root: Path) -> None:
    """Under two policies, with something spent."""
    net = network(root)
    for email in (ALICE, BOB):
        policy = net[email].private_client / "policy.json"
        asked = b'{"unit": "example", "epsilon": 50, "delta": 1e-3, "secure_noise": false}'
        write_bytes(policy, asked)
    net.launch(small(project_name=BAD, rounds=3, dp=EXAMPLE), LINEAR_SOURCE)
    net.run(approve=approve_all, until_round=1)


def asked(root: Path) -> None:
    """Before the first round: one was asked, one has declined, and the next launch was refused."""
    net = launched(root, project_name=BAD, approval="quorum", min_participants=1)
    net.advance()
    net.advance()
    decline(net[BOB], BAD, "no, thanks")
    put_launch(net[AGGREGATOR], small(project_name="Worse"), "x = 1")
    net.advance()


WORLDS: dict[str, Callable[[Path], None]] = {
    "plain": plain,
    "masked": masked,
    "private": private,
    "asked": asked,
}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """Every file of four small networks."""
    found = {}
    for name, make in WORLDS.items():
        root = tmp_path_factory.mktemp(name)
        make(root)
        paths = [p for p in sorted(root.rglob("*")) if p.is_file() and p.suffix != ".lock"]
        found[name] = {p.relative_to(root).as_posix(): p.read_bytes() for p in paths}
    return found


KINDS = (".json", ".jsonl", ".key", ".msg")
LARGE = ("sync.json", "ledger.jsonl")  # their mutations take hypothesis long to draw


def step(factory: pytest.TempPathFactory, files: dict[str, bytes], name: str, data: bytes) -> None:
    """Lay the files with one of them replaced, and take a step; what is said is sound, and expected."""
    root = factory.getbasetemp() / "world"
    shutil.rmtree(root, ignore_errors=True)
    owner = name.split("/")[0]
    whole = "@" not in owner or name.endswith(LARGE)
    for path, content in (files | {name: data}).items():
        if whole or path.startswith(f"{owner}/"):
            write_bytes(root / path, content)
    with budget(STATE_CPU_S, STATE_BYTES):
        try:
            events = _whole_network(root) if whole else _one_datasite(Datasite(root / owner, owner))
        except FedkitError as error:
            sound(error)
            return
    for event in events:
        assert render(event).isprintable()
        if isinstance(event, Problem):
            assert "did not expect this" not in str(event.error), str(event.error)
            sound(event.error)


def _one_datasite(site: Datasite) -> list[Any]:
    rows = node.status(site)
    assert not any("did not expect this" in row.text for row in rows), rows
    for look in (
        lambda: ClientConfig.load(site.data_dir / "config.json"),
        lambda: read_history(site),
    ):
        try:
            look()
        except FedkitError as error:
            sound(error)
    return node.advance(site) + answer(site, approve_all)


def _whole_network(root: Path) -> list[Any]:
    net = Network.open(root, workers=1)
    events = net.sync() + net.sync()
    by_kind(crossings(net.ledger()))
    return events


@pytest.mark.parametrize("world", WORLDS)
@fuzzed(70)
@given(data=st.data())
def test_any_state_file(
    worlds: dict[str, dict[str, bytes]],
    tmp_path_factory: pytest.TempPathFactory,
    world: str,
    data: st.DataObject,
) -> None:
    files = worlds[world]
    names = [name for name in files if name.endswith(KINDS)]
    assume(names)
    name = data.draw(st.sampled_from(names))
    change = mutated_bytes if name.endswith(LARGE) else mutated
    step(tmp_path_factory, files, name, data.draw(change(files[name])))
