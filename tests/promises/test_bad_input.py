"""Bad input, case by case: what is said, and that nothing is lost, half-made, run, or in the way of others.

Each case puts something broken beside a sound project. The message must name the file and what to do; the sound
project must end; the broken one must stay as it was.
"""

import contextlib
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, Problem, UpdateRefused, Waiting, render
from fedkit.base.files import write_bytes, write_dataset, write_state
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.federation.network import Network
from fedkit.learning.models import SAMPLE_MODEL, StateDict
from fedkit.protocol import advance as node
from fedkit.protocol.approval import answer, approve, approve_all
from tests.support import helpers
from tests.support.helpers import (
    ALICE,
    BOB,
    EVE,
    LINEAR,
    Code,
    linear_weights,
    posix,
    problems,
    put_launch,
    recompressed,
    saved,
    shard,
    small,
    snapshot,
    solo,
    sparse_file,
    tutorial,
    waits,
)

SOUND = "Sound"
Put = Callable[[Datasite], None]


def mine(**changes: Any) -> FLConfig:
    """An experiment of Alice with herself."""
    return small(**({"aggregator": ALICE, "participants": [ALICE], "rounds": 1} | changes))


def said(events: list[Event]) -> str:
    """What stands in the way or is waited for, a line each."""
    return "\n".join(render(event) for event in events if isinstance(event, Problem | Waiting))


@pytest.fixture
def site(tmp_path: Path) -> Datasite:
    """A datasite in both roles with a sound project that was launched and approved, and has not begun."""
    site = solo(tmp_path / "alice")
    put_launch(site, mine(project_name=SOUND))
    node.advance(site)
    approve(site, SOUND)
    return site


def end(site: Datasite) -> None:
    """The sound project went through, whatever lay beside it."""
    for folder in (site.client(), site.aggregator()):
        assert folder.project(SOUND, "done").global_model(1).is_file()
        assert not folder.project(SOUND).path.exists()


def ours(path: str) -> bool:
    """Paths that the sound project changes."""
    spent = "/fl_client/spent" in path  # what training it has spent of the images
    return spent or SOUND in path or path.endswith(("/done", "/running", "/public/fl"))


def check(
    events: list[Event], site: Datasite, file: str, says: str, *, later: bool = False
) -> None:
    """One message names the file, says this, and what to do; `status` says it too, and changes nothing.

    later : it shows only in the middle of a step, which `status` does not do.
    """
    text = said(events)
    lines = [line for line in text.splitlines() if file in line and re.search(says, line)]
    assert lines, text
    assert " -> " in lines[0], lines[0]
    assert len(lines[0]) < 700
    before = snapshot(site.data_dir)
    rows = "\n".join(row.text for row in node.status(site))
    assert re.search("can go on" if later else says, rows), rows
    assert snapshot(site.data_dir) == before


# --------------------------------------------------------------------------------------- the launch
def launch(
    content: Any = ...,
    model: str | None = LINEAR,
    weights: bytes | None = ...,
    **changes: Any,  # type: ignore[assignment]
) -> Put:
    """A launch with one thing wrong: another content of the config, another model, other weights."""

    def put(site: Datasite) -> None:
        folder = site.aggregator().launch
        usual = {"aggregator": ALICE, "participants": [ALICE], "project_name": "Broken"}
        values = tutorial(**(usual | changes))
        if model is not None:
            write_bytes(folder / "model.py", model.encode())
        if weights is not None:
            data = saved(linear_weights()) if weights is ... else weights
            write_bytes(folder / "global_model_weight.pt", data)
        data = content if isinstance(content, bytes) else json.dumps(values).encode()
        write_bytes(folder / "fl_config.json", data)

    return put


def state(**changes: Any) -> StateDict:
    """The linear model's weights with some tensors changed, `...` to leave one out."""
    return {k: v for k, v in (linear_weights() | changes).items() if v is not ...}


CONFIG, MODEL, WEIGHTS = "launch/fl_config.json", "launch/model.py", "launch/global_model_weight.pt"
ENDLESS = torch.zeros(1).expand(10**6, 10**6)
LAUNCHES: dict[str, tuple[Put, str, str]] = {
    "config no JSON": (launch(b"{rounds: 3}"), CONFIG, "not valid JSON in line 1"),
    "config empty": (launch(b""), CONFIG, "not valid JSON"),
    "config a list": (launch(b"[1, 2]"), CONFIG, "holds a list, not a JSON object"),
    "config binary": (launch(os.urandom(99)), CONFIG, "not valid JSON"),
    "key missing": (launch(epoch=...), CONFIG, "epoch: is missing"),
    "rounds a text": (launch(rounds="3"), CONFIG, "rounds: .*whole number"),
    "rounds 0": (launch(rounds=0), CONFIG, "rounds: .*1"),
    "rounds negative": (launch(rounds=-3), CONFIG, "rounds: .*1"),
    "epoch 0": (launch(epoch=0), CONFIG, "epoch: .*1"),
    "learning rate NaN": (launch(learning_rate=float("nan")), CONFIG, "learning_rate: .*finite"),
    "learning rate inf": (launch(learning_rate=float("inf")), CONFIG, "learning_rate: .*finite"),
    "learning rate negative": (launch(learning_rate=-0.1), CONFIG, "learning_rate: .*above 0"),
    "nobody": (launch(participants=[]), CONFIG, "participants: is empty"),
    "somebody twice": (launch(participants=[ALICE, ALICE]), CONFIG, "participants: .*twice"),
    "no e-mail": (launch(participants=["alice"]), CONFIG, "participants.0: 'alice'"),
    "e-mail is a path": (launch(participants=["../../x"]), CONFIG, "participants.0: '../../x'"),
    "project is a path": (launch(project_name="../../x"), CONFIG, "project_name: '../../x'"),
    "project is a device": (launch(project_name="nul"), CONFIG, "project_name: .*Windows"),
    "project has NUL": (launch(project_name="a\0b"), CONFIG, "project_name: "),
    "project is long": (launch(project_name="x" * 300), CONFIG, "project_name: has 300 characters"),
    "model is a path": (launch(model_arch="../model.py"), CONFIG, "model_arch: "),
    "weights are a path": (launch(model_weight="C:w.pt"), CONFIG, "model_weight: "),
    "test set is a path": (launch(test_dataset="..\\t.pt"), CONFIG, "test_dataset: "),
    "of another": (launch(aggregator=BOB), CONFIG, f"aggregator: names '{BOB}'"),
    "model missing": (launch(model=None), "launch/", "put model.py .*model_arch.* into launch/"),
    "weights missing": (launch(weights=None), "launch/", "put global_model_weight.pt .*launch/"),
    "syntax error": (launch(model="class FLModel(:\n"), MODEL, "syntax error in line 1"),
    "no class": (launch(model="x = 1"), MODEL, "defines no class FLModel"),
    "another class": (launch(model_class_name="Net"), MODEL, "defines no class Net"),
    "constructor raises": (
        launch(model=LINEAR.replace("super()", "{}['a']; super()")),
        MODEL,
        r"FLModel\(\) raises an error: KeyError",
    ),
    "constructor needs arguments": (
        launch(model=LINEAR.replace("__init__(self)", "__init__(self, width)")),
        MODEL,
        "needs arguments.*width",
    ),
    "model exits": (launch(model="raise SystemExit"), MODEL, "SystemExit"),
    "weights empty": (launch(weights=b""), WEIGHTS, "can't be read as tensors"),
    "weights truncated": (
        launch(weights=saved(linear_weights())[:-99]),
        WEIGHTS,
        "can't be read as tensors",
    ),
    "weights of another model": (
        launch(model=SAMPLE_MODEL),
        WEIGHTS,
        r"does not fit model.py: fc1.weight is missing",
    ),
    "weights one too many": (
        launch(weights=saved(state(x=torch.zeros(1)))),
        WEIGHTS,
        "'x' is not in the model",
    ),
    "weights of another shape": (
        launch(weights=saved(state(**{"fc.bias": torch.zeros(9)}))),
        WEIGHTS,
        r"fc.bias has shape \[9\], the model has \[10\]",
    ),
    "weights endless": (
        launch(weights=saved(state(**{"fc.weight": ENDLESS}))),
        WEIGHTS,
        "fc.weight has shape",
    ),
    "weights of another dtype": (
        launch(weights=saved(state(**{"fc.bias": torch.zeros(10).double()}))),
        WEIGHTS,
        "fc.bias is torch.float64",
    ),
    "weights NaN": (
        launch(weights=saved(state(**{"fc.bias": torch.full((10,), torch.nan)}))),
        WEIGHTS,
        "fc.bias holds NaN",
    ),
    "weights inf": (
        launch(weights=saved(state(**{"fc.bias": torch.full((10,), torch.inf)}))),
        WEIGHTS,
        "fc.bias holds infinite",
    ),
}


@pytest.mark.parametrize("kind", LAUNCHES)
def test_a_broken_launch_is_said_and_left_alone(site: Datasite, kind: str) -> None:
    put, file, says = LAUNCHES[kind]
    put(site)
    before = snapshot(site.data_dir, ours)
    events = node.advance(site)
    check(events, site, file, says)
    assert snapshot(site.data_dir, ours) == before
    end(site)
    # put right, it starts
    launch()(site)
    node.advance(site)
    assert site.aggregator().project("Broken").global_model(0).is_file()
    assert list(site.aggregator().launch.iterdir()) == []


def unusual(make: Callable[[Path], object], name: str) -> Put:
    """A sound launch, but one of its files is something else."""

    def put(site: Datasite) -> None:
        launch()(site)
        path = site.aggregator().launch / name
        path.unlink()
        make(path)

    return put


def link_out(path: Path) -> None:
    """A link to a good file that lies elsewhere."""
    source = path.parents[5].parent / "elsewhere" / path.name
    write_bytes(source, {"model.py": LINEAR.encode()}.get(path.name) or saved(linear_weights()))
    if path.name == "fl_config.json":
        source.write_text(json.dumps(tutorial(project_name="Broken")), encoding="utf-8")
    path.symlink_to(source)


NAMES = ("fl_config.json", "model.py", "global_model_weight.pt")
UNUSUAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link out": (link_out, "is a link, and links are not followed"),
    "a dangling link": (lambda path: path.symlink_to("nowhere"), "is a link"),
    "a pipe": (lambda path: os.mkfifo(path), "not a regular file"),
    "a folder": (lambda path: path.mkdir(), "not a regular file"),
    "2 GB": (lambda path: sparse_file(path, 2**31), "2,147,483,648 bytes"),
}


@posix
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", UNUSUAL)
def test_launch_files_that_are_no_files(site: Datasite, kind: str, name: str) -> None:
    make, says = UNUSUAL[kind]
    unusual(make, name)(site)
    before = snapshot(site.data_dir.parent, ours)
    check(node.advance(site), site, f"launch/{name}", says)
    assert snapshot(site.data_dir.parent, ours) == before
    end(site)


@posix
@pytest.mark.parametrize("folder", ["launch", "running"])
def test_a_linked_folder_of_the_aggregator(site: Datasite, tmp_path: Path, folder: str) -> None:
    """What is launched through it, or would land behind it, is somebody else's."""
    launch()(site)
    place = getattr(site.aggregator(), folder)
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    before = snapshot(tmp_path)
    events = node.advance(site)
    assert "link" in said(events)
    assert snapshot(tmp_path / "elsewhere") == {
        key.removeprefix("elsewhere/"): value
        for key, value in before.items()
        if key.startswith("elsewhere/")
    }
    place.unlink()
    (tmp_path / "elsewhere").rename(place)
    node.advance(site)
    end(site)
    assert site.aggregator().project("Broken").global_model(0).is_file()


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old format"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_weights_that_are_code_never_run(site: Datasite, tmp_path: Path, old: bool) -> None:
    marker = tmp_path / "marker"
    evil = state(**{"fc.bias": Code(marker)})
    put = launch(weights=saved(evil, _use_new_zipfile_serialization=not old))
    put(site)
    check(node.advance(site), site, WEIGHTS, "nothing in it was run")
    put = launch(weights=pickle.dumps(Code(marker)))
    put(site)
    check(node.advance(site), site, WEIGHTS, "nothing in it was run")
    assert not marker.exists()
    end(site)


def test_weights_that_unpack_to_much_are_refused(
    site: Datasite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A megabyte that becomes a gigabyte: its list of contents says so, before anything is unpacked."""
    launch(weights=recompressed(saved({"w": torch.zeros(2**22)})))(site)
    monkeypatch.setattr("fedkit.base.tensors.MAX_STATE_BYTES", 2**20)
    monkeypatch.setattr("fedkit.base.tensors.load_state.__kwdefaults__", {"max_bytes": 2**20})
    check(node.advance(site), site, WEIGHTS, "unpacks to")


# --------------------------------------------------------------------------- names that are used twice
def test_a_project_name_that_is_running_already(site: Datasite) -> None:
    launch(project_name=SOUND, epoch=2)(site)
    # without its data, the sound project waits
    data = {p: p.rename(p.with_suffix(".kept")) for p in list(site.private_client.glob("*.pt"))}
    launched = snapshot(site.aggregator().launch)
    node.advance(site)
    before = snapshot(site.data_dir)
    file, says = CONFIG, f"project_name: '{SOUND}' is the name of a project that is {{}} already"
    check(node.advance(site), site, file, says.format("running"))
    assert snapshot(site.data_dir) == before
    for path, kept in data.items():
        kept.rename(path)
    node.advance(site)
    end(site)
    check(node.advance(site), site, file, says.format("done"))
    assert snapshot(site.aggregator().launch) == launched


def test_a_project_name_in_other_letters(site: Datasite) -> None:
    """Where case does not count, sound is Sound; elsewhere it is another project. Neither may mix."""
    launch(project_name=SOUND.lower())(site)
    events = node.advance(site)
    end(site)
    there = (site.aggregator().running / SOUND.lower()).is_dir()
    assert there != ("is the name of a project" in said(events))


def test_the_same_launch_again_is_said_and_nothing_is_removed(site: Datasite) -> None:
    put_launch(site, mine(project_name=SOUND))
    launched = snapshot(site.aggregator().launch)
    events = node.advance(site)
    check(events, site, CONFIG, f"project_name: '{SOUND}' is the name of a project that is")
    assert snapshot(site.aggregator().launch) == launched
    end(site)


def test_what_is_put_into_launch_while_it_is_cleared_stays(
    site: Datasite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person is quick: the next model lies there before the last one is cleared away."""
    launch(model=LINEAR)(site)
    model = site.aggregator().launch / "model.py"
    real = os.rename

    def rename(source: Any, target: Any) -> None:
        real(source, target)
        model.write_text("# the next one", encoding="utf-8")

    monkeypatch.setattr(os, "rename", rename)
    node.advance(site)
    assert [path.name for path in site.aggregator().launch.iterdir()] == ["model.py"]
    assert model.read_text(encoding="utf-8") == "# the next one"
    assert (site.aggregator().project("Broken").path / "model.py").read_text() == LINEAR


# -------------------------------------------------------------------------------------- the request
def request(
    content: Any = ..., model: str | None = LINEAR, folder: str = "Broken", **c: Any
) -> Put:
    """A request that anybody may have put there: the folder is open to all."""

    def put(site: Datasite) -> None:
        place = site.client().request / folder
        usual = {"aggregator": BOB, "participants": [ALICE, BOB], "project_name": "Broken"}
        values = tutorial(**(usual | c))
        data = content if isinstance(content, bytes) else json.dumps(values).encode()
        if model is not None:
            write_bytes(place / "model.py", model.encode())
        if content is not None:
            write_bytes(place / "fl_config.json", data)

    return put


REQUESTS: dict[str, tuple[Put, str, str]] = {
    "no config": (request(None), "request/Broken/fl_config.json", r"is not there \(yet\)"),
    "no model": (request(model=None), "request/Broken/model.py", r"is not there \(yet\)"),
    "config no JSON": (request(b"{"), "request/Broken/fl_config.json", "not valid JSON"),
    "config NaN": (request(learning_rate=float("nan")), "fl_config.json", "learning_rate"),
    "config deep": (request(b"[" * 10**5), "request/Broken/fl_config.json", "not valid JSON"),
    "another name": (request(project_name="Other"), "fl_config.json", "names the project 'Other'"),
    "not for me": (request(participants=[BOB]), "fl_config.json", f"does not name {ALICE}"),
    "model huge": (request(model="#" * 2**21), "request/Broken/model.py", "2,097,152 bytes"),
    "model is a path": (request(model_arch="../../x.py"), "fl_config.json", "model_arch"),
    "folder's name": (request(folder="a\x1b[2J\nb"), "a", "can't be a file name"),
    "folder is a device": (request(folder="nul"), "nul", "Windows"),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_broken_request_is_said_and_runs_nothing(site: Datasite, kind: str) -> None:
    put, file, says = REQUESTS[kind]
    put(site)
    before = snapshot(site.data_dir, ours)
    events = node.advance(site)
    check(events, site, file, says)
    assert snapshot(site.data_dir, ours) == before
    end(site)
    for line in said(events).splitlines():
        assert line.isprintable()
    (name,) = {event.project for event in events if isinstance(event, Problem)}
    with pytest.raises(FedkitError) as caught:
        approve(site, name)
    assert caught.value.remedy or caught.value.field
    assert snapshot(site.data_dir, ours) == before


@posix
@pytest.mark.parametrize("name", ["fl_config.json", "model.py", ""])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_request_files_that_are_no_files(
    site: Datasite, tmp_path: Path, kind: str, name: str
) -> None:
    request()(site)
    place = site.client().request / "Broken"
    target = place / name if name else place
    shutil.move(target, tmp_path / "elsewhere")
    if kind == "link":
        target.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(target)
    before = snapshot(tmp_path, ours)
    events = node.advance(site)
    if name:
        check(events, site, f"Broken/{name}", "is a link" if kind == "link" else "regular file")
    with pytest.raises(FedkitError):
        approve(site, "Broken")
    assert snapshot(tmp_path, ours) == before
    end(site)


def test_stray_folders_are_no_requests_and_no_projects(site: Datasite) -> None:
    """What notebooks and file managers leave behind."""
    for folder in (site.client(), site.aggregator()):
        for place in (folder.running, folder.done):
            (place / ".ipynb_checkpoints").mkdir()
            (place / ".DS_Store").write_bytes(b"x")
            (place / "notes.txt").write_bytes(b"x")
    (site.client().request / ".ipynb_checkpoints").mkdir()
    events = node.advance(site)
    assert {event.project for event in events} == {SOUND}
    assert {row.project for row in node.status(site)} == {SOUND}
    end(site)


# ------------------------------------------------------------------------ what lies in running/ already
@pytest.fixture
def waiting(site: Datasite) -> Datasite:
    """Beside the sound project one of Bob's that Alice approved; Bob's global model has not come yet."""
    request()(site)
    approve(site, "Broken")
    return site


def good_model(site: Datasite) -> Path:
    path = site.client().project("Broken").global_model(0)
    write_state(path, linear_weights())
    return path


MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "can't be read as tensors"),
    "truncated": (lambda path: path.write_bytes(saved(linear_weights())[:-9]), "can't be read"),
    "code": (
        lambda path: path.write_bytes(saved(state(x=Code(path.parent / "marker")))),
        "nothing in it was run",
    ),
    "a list": (lambda path: path.write_bytes(saved([1])), "not a state dict"),
    "wrong shape": (
        lambda path: path.write_bytes(saved(state(**{"fc.bias": torch.zeros(9)}))),
        "fc.bias has shape",
    ),
    "NaN": (
        lambda path: path.write_bytes(saved(state(**{"fc.bias": torch.full((10,), torch.nan)}))),
        "fc.bias holds NaN",
    ),
    "endless": (
        lambda path: path.write_bytes(saved(state(**{"fc.bias": ENDLESS}))),
        "fc.bias has shape",
    ),
    "2 GB": (lambda path: sparse_file(path, 2**31), "2,147,483,648 bytes"),
    "a link": (lambda path: link_out(path), "is a link"),
    "a pipe": (lambda path: os.mkfifo(path), "regular file"),
    "a folder": (lambda path: path.mkdir(), "regular file"),
}


@posix
@pytest.mark.parametrize("kind", MODELS)
def test_a_broken_global_model_is_waited_out(waiting: Datasite, kind: str) -> None:
    make, says = MODELS[kind]
    path = waiting.client().project("Broken").global_model(0)
    make(path)
    events = node.advance(waiting)
    check(
        events, waiting, "agg_model_round_0.pt", says, later="fc.bias" in says and kind != "endless"
    )
    assert not (path.parent / "marker").exists()
    assert not waiting.client().project("Broken").trained(1).exists()
    end(waiting)
    # a good one comes, and training begins
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    good_model(waiting)
    node.advance(waiting)
    assert waiting.client().project("Broken").trained(1).is_file()


DATASETS: dict[str, tuple[Any, str]] = {
    "no tensors": ({"images": [1]}, "not a pair of tensors"),
    "one tensor": (torch.zeros(3), "not a pair of tensors"),
    "three tensors": ((torch.zeros(1),) * 3, "not a pair of tensors"),
    "flat images": ((torch.zeros(3, 784), torch.zeros(3).long()), r"images: .*\[3, 784\]"),
    "square images": ((torch.zeros(3, 28, 28), torch.zeros(3).long()), "images: .*shape"),
    "labels in columns": ((torch.zeros(3, 1, 28, 28), torch.zeros(3, 1).long()), "labels: .*shape"),
    "fewer labels": ((torch.zeros(3, 1, 28, 28), torch.zeros(2).long()), "labels: .*2 for 3"),
    "empty": ((torch.zeros(0, 1, 28, 28), torch.zeros(0).long()), "images: .*empty"),
    "bytes": ((torch.zeros(3, 1, 28, 28).byte(), torch.zeros(3).long()), "images: .*uint8"),
    "double": ((torch.zeros(3, 1, 28, 28).double(), torch.zeros(3).long()), "images: .*float64"),
    "float labels": ((torch.zeros(3, 1, 28, 28), torch.zeros(3)), "labels: .*float32"),
    "label 10": ((torch.zeros(1, 1, 28, 28), torch.tensor([10])), "labels: .*10.*0..9"),
    "label -1": ((torch.zeros(1, 1, 28, 28), torch.tensor([-1])), "labels: .*-1"),
    "0 to 255": ((torch.full((1, 1, 28, 28), 255.0), torch.tensor([1])), "images: .*255"),
    "NaN": ((torch.full((1, 1, 28, 28), torch.nan), torch.tensor([1])), "images: .*NaN"),
    "repeated": (
        (torch.zeros(1, 1, 28, 28).expand(10**7, 1, 28, 28), torch.zeros(1).long().expand(10**7)),
        "images: repeat the same numbers",
    ),
    "truncated": (b"PK\x03\x04 half", "can't be read as tensors"),
}


@pytest.mark.parametrize("kind", DATASETS)
@pytest.mark.parametrize("which", ["training", "test"])
def test_broken_data_is_said_where_it_is_needed(site: Datasite, which: str, kind: str) -> None:
    """Of the training data, the project waits before it trains; of the test set, after the average."""
    content, says = DATASETS[kind]
    private = {
        "training": site.private_client / "mnist_label_0.pt",
        "test": site.private_aggregator / "mnist_test_dataset.pt",
    }[which]
    good = private.read_bytes()
    private.write_bytes(content if isinstance(content, bytes) else saved(content))
    events = node.advance(site)
    check(events, site, private.name, says, later=True)
    assert not site.aggregator().project(SOUND, "done").path.exists()
    private.write_bytes(good)
    node.advance(site)
    end(site)


@posix
@pytest.mark.parametrize("kind", ["link", "pipe", "2 GB", "folder"])
def test_data_files_that_are_no_files(site: Datasite, tmp_path: Path, kind: str) -> None:
    private = site.private_client / "mnist_label_0.pt"
    private.rename(tmp_path / "elsewhere.pt")
    {
        "link": lambda: private.symlink_to(tmp_path / "elsewhere.pt"),
        "pipe": lambda: os.mkfifo(private),
        "2 GB": lambda: sparse_file(private, 2**31 + 1),
        "folder": private.mkdir,
    }[kind]()
    says = {"link": "is a link", "2 GB": "2,147,483,649 bytes"}.get(kind, "regular file")
    check(node.advance(site), site, private.name, says, later=True)


def test_data_that_is_missing_is_asked_for(site: Datasite) -> None:
    for path in (*site.private_client.glob("*.pt"), *site.private_aggregator.glob("*.pt")):
        path.unlink()
    text = said(node.advance(site))
    assert f"{ALICE} to put training data into private/fl_client" in text
    assert f"{ALICE} to put mnist_test_dataset.pt into private/fl_aggregator" in text
    helpers.write_shard(site.private_client, shard([0, 1]))
    write_dataset(site.private_aggregator / "mnist_test_dataset.pt", *helpers.held_out())
    node.advance(site)
    end(site)


# ------------------------------------------------------------------------------ links into a project
@posix
@pytest.mark.parametrize("where", ["agg_weights", "state", "round_weights", "logs", ""])
def test_a_linked_folder_of_a_running_project(site: Datasite, tmp_path: Path, where: str) -> None:
    """Nothing is written behind it, not even a permission file."""
    place = site.client().project(SOUND).path / where
    if place.exists():
        shutil.move(place, tmp_path / "kept")
    (tmp_path / "elsewhere").mkdir()
    place.symlink_to(tmp_path / "elsewhere")
    assert "is a link" in said(node.advance(site))
    assert list((tmp_path / "elsewhere").iterdir()) == []
    place.unlink()
    if (tmp_path / "kept").exists():
        shutil.move(tmp_path / "kept", place)
    node.advance(site)
    end(site)


@posix
@pytest.mark.parametrize("name", ["model.py", "fl_config.json"])
@pytest.mark.parametrize("role", ["client", "aggregator"])
def test_a_linked_file_of_a_running_project(
    site: Datasite, tmp_path: Path, role: str, name: str
) -> None:
    """Even to the very bytes that were approved: what lies behind a link may change at any time."""
    place = getattr(site, role)().project(SOUND).path / name
    place.rename(tmp_path / name)
    place.symlink_to(tmp_path / name)
    events = node.advance(site)
    check(events, site, f"running/{SOUND}/{name}", "is a link, and links are not followed")
    assert not site.client().project(SOUND).trained(1).exists() or role == "aggregator"
    place.unlink()
    (tmp_path / name).rename(place)
    node.advance(site)
    end(site)


@posix
def test_a_linked_folder_of_updates(site: Datasite, tmp_path: Path) -> None:
    inbox = site.aggregator().project(SOUND).inbox(ALICE)
    shutil.move(inbox, tmp_path / "elsewhere")
    inbox.symlink_to(tmp_path / "elsewhere")
    before = snapshot(tmp_path / "elsewhere")
    assert "is a link" in said(node.advance(site))
    assert snapshot(tmp_path / "elsewhere") == before
    inbox.unlink()
    shutil.move(tmp_path / "elsewhere", inbox)
    node.advance(site)
    end(site)


@posix
def test_a_linked_datasite_of_a_peer(site: Datasite, tmp_path: Path) -> None:
    """Neither a request nor a model goes where somebody else's link leads."""
    peer = Datasite.create(tmp_path / "bob", BOB)
    shutil.move(peer.root, tmp_path / "elsewhere")
    (site.datasites / BOB).symlink_to(tmp_path / "elsewhere")
    launch(participants=[ALICE, BOB])(site)
    before = snapshot(tmp_path / "elsewhere")
    check(node.advance(site), site, BOB, "is a link")
    assert snapshot(tmp_path / "elsewhere") == before
    end(site)


# ------------------------------------------------------------------------- an aggregator's own folders
BROKEN_RUNNING: dict[str, tuple[Callable[[Any], object], str, str]] = {
    "no config": (lambda p: p.config.unlink(), "fl_config.json", "is not there"),
    "config broken": (lambda p: p.config.write_bytes(b"{"), "fl_config.json", "not valid JSON"),
    "another name": (
        lambda p: small(aggregator=ALICE, participants=[ALICE]).save(p.config),
        "fl_config.json",
        "names the project 'MNIST_FL'",
    ),
    "no seed weights": (lambda p: p.global_model(0).unlink(), "round_0.pt", "is not there"),
    "seed weights broken": (
        lambda p: p.global_model(0).write_bytes(b"x"),
        "agg_model_round_0.pt",
        "can't be read as tensors",
    ),
    "no model": (lambda p: (p.path / "model.py").unlink(), "model.py", "is not there|No such file"),
    "a record broken": (
        lambda p: write_bytes(p.record(1), b'{"round": 1}'),
        "",
        "no record of a round",
    ),
    "a record of another kind": (lambda p: write_bytes(p.record(1), b"[3]"), "", "no record"),
}


@pytest.mark.parametrize("kind", BROKEN_RUNNING)
def test_a_broken_project_of_the_aggregator_stops_no_other(site: Datasite, kind: str) -> None:
    make, file, says = BROKEN_RUNNING[kind]
    launch(participants=[ALICE, EVE], min_participants=1, approval="quorum", rounds=1)(site)
    node.advance(site)
    end(site)
    approve(site, "Broken")
    make(site.aggregator().project("Broken"))
    put_launch(site, mine(project_name="Second"))
    node.advance(site)
    approve(site, "Second")
    events = node.advance(site)
    check(
        events, site, file, says, later=kind == "seed weights broken"
    )  # they are read as they are sent
    assert "fedkit did not expect this" not in said(events)
    assert site.aggregator().project("Second", "done").path.is_dir()


# ------------------------------------------------------------------------------------------- the disk
def test_a_full_disk_is_said_and_the_same_bits_come_out_when_there_is_room(tmp_path: Path) -> None:
    """The disk grows page by page: the project meets its end at every place where it writes."""
    whole = solo(tmp_path / "whole")
    put_launch(whole, mine(rounds=2))
    helpers.run_solo(whole)
    with helpers.disk(tmp_path / "disk", "10m") as folder:
        site = solo(folder / "alice")
        put_launch(site, mine(rounds=2))
        messages = set()
        fill(folder)
        for _ in range(400):
            events = node.advance(site)
            messages |= set(problems(events))
            messages |= set(problems(answer(site, approve_all)))
            if site.client().project(helpers.PROJECT, "done").path.exists():
                break
            next(folder.glob("filler/*")).unlink()
        node.advance(site)
        assert len(messages) > 5, messages
        for text in messages - {m for m in messages if "is not there" in m}:
            assert "No space left" in text, text
            assert "free some space" in text
            assert str(folder) in text
        assert helpers.last_model(site) == helpers.last_model(whole)


def fill(folder: Path) -> None:
    """Take all the room that is left, in files of one page."""
    (folder / "filler").mkdir(exist_ok=True)
    with contextlib.suppress(OSError):
        for number in range(100_000):
            (folder / "filler" / f"{number:06d}").write_bytes(b"x" * 4096)


def test_a_read_only_disk_is_said(tmp_path: Path) -> None:
    with helpers.disk(tmp_path / "disk", "10m") as folder:
        site = solo(folder / "alice")
        put_launch(site, mine())
        node.advance(site)
        before = snapshot(folder)
        helpers.make_read_only(folder)
        for action in (
            lambda: node.advance(site),
            lambda: approve(site, helpers.PROJECT),
            lambda: Datasite.create(folder / "bob", BOB),
        ):
            with pytest.raises(FedkitError, match="Read-only") as caught:
                action()
            assert str(folder) in str(caught.value)
            assert "writ" in str(caught.value.remedy)
        assert [row.state for row in node.status(site)] == ["running", "request"]
        helpers.make_read_only(folder, False)
        assert snapshot(folder) == before
        helpers.run_solo(site)
        assert site.aggregator().project(helpers.PROJECT, "done").path.is_dir()


# ------------------------------------------------------------------------------------------- networks
def test_a_participant_that_never_answers_is_named(tmp_path: Path) -> None:
    net = helpers.launched(tmp_path)
    history = net.run(approve=lambda review: review.participant == ALICE)
    assert not history.done
    named = [event for event in history.waiting if isinstance(event, Waiting)]
    assert {event.whom for event in named} >= {BOB}
    assert all("approve the request" in event.what for event in named if event.whom == BOB)
    assert net.run(approve=approve_all).done


def test_nobody_approves_by_itself(tmp_path: Path) -> None:
    net = helpers.launched(tmp_path)
    history = net.run()
    assert not history.done
    assert {event.whom for event in waits(list(history.waiting))} >= {ALICE, BOB}
    for email in (ALICE, BOB):
        assert not any(net[email].client().running.iterdir())


NETWORKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "aggregator no e-mail": (
        lambda root: Network.create(root, aggregator="x", participants=[BOB]),
        "x.* is no e-mail",
    ),
    "participant no e-mail": (
        lambda root: Network.create(root, aggregator=ALICE, participants=["../x"]),
        "no e-mail",
    ),
    "another app data": (
        lambda root: Network.create(root, aggregator=ALICE, participants=[BOB], app_data="x"),  # type: ignore[arg-type]
        "'x' is unknown",
    ),
    "nothing there": (lambda root: Network.open(root / "nowhere"), "network.json: is not there"),
    "broken": (
        lambda root: Network.open(write_bytes(root / "network.json", b"{}") or root),
        "network.json: ",
    ),
    "a model with an error": (
        lambda root: helpers.launched(root, model="class FLModel(:\n"),
        "syntax error",
    ),
    "nothing launched": (lambda root: helpers.network(root).run(), "no project was launched"),
    "no such project": (lambda root: helpers.launched(root).history("X"), "no project 'X'"),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_says_what_is_wrong(tmp_path: Path, kind: str) -> None:
    make, says = NETWORKS[kind]
    with pytest.raises(FedkitError, match=says) as caught:
        make(tmp_path)
    assert caught.value.remedy


def test_another_network_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    helpers.network(tmp_path)
    with pytest.raises(FedkitError, match="describes another network"):
        Network.create(tmp_path, aggregator=ALICE, participants=[BOB])
    assert Network.open(tmp_path).participants == (ALICE, BOB)


def test_refusals_are_events_too(site: Datasite) -> None:
    """For the table of refused updates see test_aggregator; here only that a refusal is rendered in one line."""
    event = UpdateRefused(ALICE, SOUND, BOB, 1, "'a\\nb' is not in the model")
    assert render(event).isprintable()
