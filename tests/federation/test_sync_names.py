"""Names in the sync: what Windows, a Mac or an old disk would do to them, simulated here."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedkit.base.events import Event, Notice, Problem, render
from fedkit.datasite.datasite import Datasite
from fedkit.federation.network import Network
from fedkit.federation.sync import Sync
from fedkit.protocol.approval import approve_all
from tests.support.helpers import ALICE, BOB, PROJECT, launched, posix, put_launch, small

NFC, NFD = "caf\u00e9.txt", "cafe\u0301.txt"


class Pair:
    """Alice's datasite and Bob's copy of it: Bob reads all of `public/`, and may write into `public/open/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.alice, self.bob = (Datasite.create(root / email, email) for email in (ALICE, BOB))
        rules = "rules:\n- pattern: '**'\n  access: {write: ['*']}\n"
        self.here, self.there = self.alice.public, self.bob.datasites / ALICE / "public"
        self.put(self.here / "open" / "syft.pub.yaml", rules)
        self.sync = Sync([self.alice, self.bob], root / "ledger.jsonl")
        assert self.sync() == []

    def put(self, path: Path, text: str = "x") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def crossed(self) -> set[str]:
        return {entry.path for entry in self.sync.entries()}


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def notices(events: list[Event]) -> list[str]:
    assert all(isinstance(event, Notice) for event in events), events
    return [render(event) for event in events]


KEPT_BACK = {
    "syft.pub.yaml.": "ends in a dot",
    "syft.pub.yaml ": "ends in a dot or a space",
    "syft.pub.yaml::$DATA": "Windows allows in no name",
    "notes.txt:hidden": "Windows allows in no name",
    "what?": "Windows allows in no name",
    'a"b': "Windows allows in no name",
    "a\\b": "Windows allows in no name",
    "x\ny": "Windows allows in no name",
    "CON": "Windows reserves",
    "nul": "Windows reserves",
    "Com1": "Windows reserves",
    "aux.txt": "Windows reserves",
    "LPT9 .tar.gz": "Windows reserves",
    "COM\u00b9": "Windows reserves",
    "SYFTPU~1.YAM": "calls another file, in short",
    "folder./x.txt": "ends in a dot",
    "prn/x.txt": "Windows reserves",
    os.fsdecode(b"\xff\xfe"): "no UTF-8",
}


@posix
@pytest.mark.parametrize("name", KEPT_BACK, ids=ascii)
@pytest.mark.parametrize("side", ["owner", "writer"])
def test_a_name_that_windows_would_not_hold_stays_where_it_is_and_is_said_once(
    pair: Pair, name: str, side: str
) -> None:
    folder = pair.here if side == "owner" else pair.there / "open"
    path = pair.put(folder / name)
    pair.put(folder / "fine.txt")
    (said,) = notices(pair.sync())
    assert KEPT_BACK[name] in said
    assert "-> rename it" in said
    assert said.isprintable()
    assert pair.sync() == []
    pair.sync = Sync([pair.alice, pair.bob], pair.root / "ledger.jsonl")
    assert len(notices(pair.sync())) == 1  # another process says it too
    assert path.is_file()
    other = {"owner": pair.there, "writer": pair.here / "open"}[side]
    assert (other / "fine.txt").is_file()
    assert not (other / name).exists()
    assert {Path(p).name for p in pair.crossed()} >= {"fine.txt"}
    path.rename(path.with_name("renamed.txt")) if "/" not in name else None
    pair.sync()
    if "/" not in name:
        assert (other / "renamed.txt").is_file()


CLASHES = [("A.txt", "a.txt"), (NFC, NFD), ("stra\u00dfe", "STRASSE"), ("syft\u200d.x", "syft.x")]


@posix
@pytest.mark.parametrize(("one", "other"), CLASHES, ids=ascii)
def test_of_two_names_that_are_one_file_elsewhere_the_first_one_crosses(
    pair: Pair, one: str, other: str
) -> None:
    """A reader whose disk holds one of them would see the two change into each other for ever."""
    pair.put(pair.here / one, "first")
    assert pair.sync() == []
    pair.put(pair.here / other, "second")
    pair.put(pair.here / "fine.txt")
    (said,) = notices(pair.sync())
    assert "one file with" in said
    assert pair.sync() == []
    assert (pair.there / one).read_text(encoding="utf-8") == "first"
    assert not (pair.there / other).exists()
    assert (pair.there / "fine.txt").is_file()
    (pair.here / one).unlink()  # now there is one of them
    pair.sync()
    pair.sync()
    assert (pair.there / other).read_text(encoding="utf-8") == "second"
    assert not (pair.there / one).exists()


@posix
@pytest.mark.parametrize(("one", "other"), CLASHES[:2], ids=ascii)
def test_nobody_puts_a_second_spelling_beside_the_owners_file(
    pair: Pair, one: str, other: str
) -> None:
    """At an owner on Windows it would be written over, without the right to read what was there."""
    pair.put(pair.here / "open" / one, "the owner's")
    assert pair.sync() == []
    pair.put(pair.there / "open" / other, "another")
    assert len(notices(pair.sync())) == 1
    assert not (pair.here / "open" / other).exists()
    assert (pair.here / "open" / one).read_text(encoding="utf-8") == "the owner's"


@posix
@pytest.mark.parametrize("by", ["owner", "writer"])
def test_a_file_renamed_in_upper_and_lower_case_is_renamed_everywhere(pair: Pair, by: str) -> None:
    folders = [pair.here / "open", pair.there / "open"]
    mine, theirs = folders if by == "owner" else reversed(folders)
    pair.put(mine / "a.txt")
    assert pair.sync() == []
    (mine / "a.txt").rename(mine / "A.txt")
    for _ in range(3):
        pair.sync()
    for folder in (mine, theirs):
        assert [p.name for p in folder.glob("[aA].txt")] == ["A.txt"]


# ---------------------------------------------------------------- file systems with ways of their own
class _Entry:
    """A directory entry under the name that another file system would tell."""

    def __init__(self, entry: os.DirEntry[str], name: str) -> None:
        self._entry, self.name = entry, name
        self.path = str(Path(entry.path).with_name(name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._entry, name)


@contextmanager
def lists_as(
    monkeypatch: pytest.MonkeyPatch, folder: Path, told: Callable[[str], str]
) -> Iterator[None]:
    """Below `folder`, names are listed in another form, and found in either: a Mac's disk, or one that knows no case."""
    real = os.scandir

    class Scan:
        def __init__(self, where: Any) -> None:
            below = Path(where).is_relative_to(folder)
            with real(where) as found:
                self.rest = iter([_Entry(e, told(e.name) if below else e.name) for e in found])

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> _Entry:
            return next(self.rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", Scan)
        yield


FORMS: dict[str, Callable[[str], str]] = {
    "NFD": lambda name: unicodedata.normalize("NFD", name),
    "upper case": lambda name: name.upper() if name.endswith(".txt") else name,
}


@posix
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("whose", ["owner", "reader"])
def test_a_listing_in_another_form_is_no_change(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, form: str, whose: str
) -> None:
    """Nothing is deleted at the owner, nothing crosses again, and what changes still does."""
    pair.put(pair.here / "open" / NFC, "first")
    pair.sync()
    before = len(pair.sync.entries())
    folder = {"owner": pair.alice, "reader": pair.bob}[whose].data_dir
    with lists_as(monkeypatch, folder, FORMS[form]):
        again = Sync([pair.alice, pair.bob], pair.root / "ledger.jsonl")
        assert again() == []
        assert again() == []
        assert len(again.entries()) == before
        pair.put(pair.here / "open" / NFC, "second")
        assert again() == []
    assert (pair.there / "open" / NFC).read_text(encoding="utf-8") == "second"
    assert (pair.here / "open" / NFC).read_text(encoding="utf-8") == "second"


@posix
def test_a_project_runs_where_one_disk_lists_names_in_another_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = launched(tmp_path, rounds=1)
    pair = network[BOB].public / NFC
    pair.write_text("x", encoding="utf-8")
    with lists_as(monkeypatch, network[BOB].data_dir, FORMS["NFD"]):
        assert network.run(approve=approve_all).done


# ---------------------------------------------------------------------------------- long names
@posix
@pytest.mark.parametrize("length", [250, 251, 254, 255])
@pytest.mark.parametrize("sign", ["x", "\u00e9", "\u4e2d"], ids=["one byte", "two", "three"])
@pytest.mark.parametrize("folder", ["", "deep/er/"], ids=["here", "deeper"])
@pytest.mark.parametrize("side", ["owner", "writer"])
def test_a_name_as_long_as_the_disk_takes_it_crosses(
    pair: Pair, length: int, sign: str, folder: str, side: str
) -> None:
    stem = sign * ((length - 4) // len(sign.encode()))
    name = stem + "y" * (length - 4 - len(stem.encode())) + ".txt"
    assert len(name.encode()) == length
    sides = [pair.here / "open" / folder, pair.there / "open" / folder]
    mine, theirs = sides if side == "owner" else reversed(sides)
    pair.put(mine / name, "all of it")
    pair.put(mine / "fine.txt")
    assert pair.sync() == []
    assert (theirs / name).read_text(encoding="utf-8") == "all of it"
    assert (theirs / "fine.txt").is_file()
    told = [entry.path for entry in pair.sync.entries() if name in entry.path]
    assert told == [f"{ALICE}/public/open/{folder}{name}"]
    assert [p.name for p in theirs.iterdir() if p.name.startswith(".")] == []


@posix
@pytest.mark.parametrize("length", [250, 255])
@pytest.mark.parametrize("sign", ["x", "\u4e2d"])
def test_a_refused_file_with_a_long_name_is_set_aside(pair: Pair, length: int, sign: str) -> None:
    stem = sign * ((length - 4) // len(sign.encode()))
    path = pair.put(pair.there / f"{stem}.txt", "mine")
    pair.sync()
    assert not path.exists()
    (aside,) = [p for p in pair.there.iterdir() if ".syftrejected" in p.name]
    assert aside.read_text(encoding="utf-8") == "mine"
    assert pair.sync() == []


@posix
def test_what_can_not_be_written_has_not_crossed_by_the_ledger(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk with shorter names: the ledger is silent, somebody is told why, the other files go on."""
    from fedkit.base import files

    real = files.put

    def put(path: Path, *rest: Any) -> Any:
        if len(path.name) > 100:
            raise OSError(36, "File name too long", str(path))
        return real(path, *rest)

    monkeypatch.setattr(files, "put", put)
    pair.put(pair.here / ("x" * 200 + ".txt"))
    pair.put(pair.here / "fine.txt")
    (problem,) = pair.sync()
    assert isinstance(problem, Problem)
    assert "File name too long" in str(problem.error)
    assert "x" * 200 in str(problem.error)
    assert problem.error.remedy
    assert (pair.there / "fine.txt").is_file()
    assert not any("x" * 200 in path for path in pair.crossed())


# --------------------------------------------------------------------------- people and projects
def test_two_e_mails_that_are_one_folder_elsewhere_make_no_network(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="upper and lower case") as caught:
        Network.create(tmp_path, aggregator=ALICE, participants=[BOB, BOB.title()])
    assert BOB in str(caught.value)
    assert not (tmp_path / ALICE).exists()


def test_a_datasite_is_not_made_beside_another_spelling(tmp_path: Path) -> None:
    Datasite.create(tmp_path, ALICE)
    with pytest.raises(Exception, match="upper and lower case") as caught:
        Datasite.create(tmp_path, ALICE.title())
    assert ALICE in str(caught.value)
    assert [p.name for p in (tmp_path / "datasites").iterdir()] == [ALICE]


def test_two_projects_that_are_one_folder_elsewhere(tmp_path: Path) -> None:
    network = launched(tmp_path, rounds=1)
    assert network.run(approve=approve_all).done
    put_launch(network[network.aggregator], small(project_name=PROJECT.lower()))
    events = network.advance(approve_all)
    told = [str(e.error) for e in events if isinstance(e, Problem)]
    assert any("project_name" in text and PROJECT in text and " -> " in text for text in told)
    assert not (network[network.aggregator].aggregator().running / PROJECT.lower()).exists()
