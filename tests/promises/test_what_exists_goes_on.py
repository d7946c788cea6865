"""What the version before left behind goes on: projects in the middle of a round, approvals, ledgers, finished ones.

`older/VERSION.zip` was made by that version (see `older/make.py`). Today's code finishes what it began, to the bits that
today's code alone reaches; where a processor is another one than the maker's, it finishes, and bits are not compared.
"""

import importlib.util
import json
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import fedkit as fk
from fedkit.base.files import sha256_bytes
from fedkit.datasite.tree import stamp
from tests.support.helpers import problems

OLDER = Path(__file__).parent / "older"
VERSIONS = sorted(path.stem for path in OLDER.glob("*.zip"))


def load_maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("older_make", OLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = load_maker()


@pytest.fixture(params=VERSIONS)
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Everything that a version left, as it lay there: the sync's memory knows these very files."""
    root = tmp_path / "older"
    with zipfile.ZipFile(OLDER / f"{request.param}.zip") as archive:
        for name, digest in json.loads(archive.read("files.json"))["files"].items():
            path = root / name
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                data = archive.read(digest).replace(make.ROOT.encode(), str(root).encode())
                path.write_bytes(data)
    for memory in root.rglob("sync.json"):
        values = json.loads(memory.read_text())
        for owner, paths in values.items():
            for path, (*_, digest) in paths.items():
                there = memory.parent.parent / "datasites" / owner / path
                paths[path] = [*stamp(there.stat()), digest]
        memory.write_text(json.dumps(values))
    return root


def global_model(net: fk.Network, n: int, folder: str) -> str:
    project = net[make.ANA].aggregator().project("OLDER", folder)
    return sha256_bytes(project.global_model(n).read_bytes())


def test_there_is_a_version_before() -> None:
    assert VERSIONS


@pytest.mark.parametrize("kind", make.KINDS)
def test_a_project_in_the_middle_of_a_round_is_finished(
    older: Path, tmp_path: Path, kind: str
) -> None:
    net = fk.Network.open(older / kind, workers=1)
    ledger, before = len(net.ledger()), net.history().rounds[0]
    began = global_model(net, 1, "running")
    happened: list[fk.Event] = []
    history = net.run(on_event=happened.append)  # nobody approves anything anew
    assert history.done, history.waiting
    assert len(history) == 3
    assert problems(happened) == []
    assert not [e for e in happened if "REFUSED" in str(e)]
    assert history.rounds[0] == before
    assert len(net.ledger()) > ledger > 0
    assert list(older.rglob("*syftrejected*")) == []
    today = make.network(tmp_path / "today", **make.KINDS[kind])
    today.run(approve=fk.approve_all)
    if global_model(today, 1, "done") == began:
        assert global_model(today, 3, "done") == global_model(net, 3, "done")


def test_a_request_and_an_approval_are_known(older: Path) -> None:
    net = fk.Network.open(older / "asked", workers=1)
    assert fk.pending_requests(net[make.ALICE]) == []
    assert fk.pending_requests(net[make.BOB]) == ["OLDER"]
    for email in (make.BOB, make.CAROL):
        fk.approve(net[email], "OLDER")
    assert net.run().done


def test_a_finished_project_is_read_shown_and_rewound(older: Path) -> None:
    net = fk.Network.open(older / "done", workers=1)
    history = net.history()
    assert history.done
    assert [record.round for record in history] == [1, 2, 3]
    assert all(record.capped == {} for record in history)
    assert net.run().done
    last = global_model(net, 3, "done")
    fk.rewind(net, 1)
    assert net.run().done
    if net.history().rounds[1] == history.rounds[1]:
        assert global_model(net, 3, "done") == last


def test_todays_code_can_leave_such_networks_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the next version has something to go on from."""
    monkeypatch.setattr("sys.argv", ["make.py", str(tmp_path / "today.zip")])
    make.main()
    with zipfile.ZipFile(tmp_path / "today.zip") as archive:
        files = json.loads(archive.read("files.json"))["files"]
    for kind in make.KINDS:
        trained = [f for f in files if f.startswith(f"{kind}/") and "trained_model_round_2.pt" in f]
        assert trained, kind
        assert not any("agg_model_round_2" in f for f in files if f.startswith(f"{kind}/"))
