"""The command line of one datasite: the tutorial's walk-through word for word, and all that can go wrong on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from fedkit.base.files import read_dataset, read_state, write_dataset
from fedkit.base.text import visible
from fedkit.cli import approve as cli_approve
from fedkit.cli import doctor
from fedkit.cli.main import app
from fedkit.cli.serve import Server
from fedkit.config.client_config import ClientConfig
from fedkit.datasite.datasite import Datasite
from fedkit.protocol import advance as node
from tests.support import ROOT
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    LINEAR,
    PROJECT,
    held_out,
    launched,
    put_launch,
    shard,
    small,
    snapshot,
    solo,
    tutorial,
)

FEDKIT = [sys.executable, "-m", "fedkit.cli.main"]
PATIENCE_S = 60.0  # of a test that fails


def fedkit(*args: object, code: int = 0, stdin: str | None = None) -> str:
    """Run a command in this process, hold its exit code against `code`, return all that it said."""
    result = CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `fedkit data samples` writes, with 60 images a digit in the place of 800."""
    out = tmp_path_factory.mktemp("samples")
    fedkit("data", "samples", "--out", out)
    for path in out.glob("mnist_label_*.pt"):
        images, labels = read_dataset(path)
        write_dataset(path, images[:60], labels[:60])
    return out


def write_env(folder: Path, port: int = 8080, **changes: str) -> Path:
    values = {
        "EMAIL": ALICE,
        "DATA_DIR": str(folder / "data"),
        "CONFIG_PATH": str(folder / "settings" / "config.json"),
        "PORT": str(port),
    }
    text = "".join(f"{key}={value}\n" for key, value in (values | changes).items())
    (folder / ".env").write_text(text)
    return folder / ".env"


def options(folder: Path, **changes: object) -> list[object]:
    """The four settings as options; a change to `...` leaves one out."""
    values: dict[str, object] = {
        "--email": ALICE,
        "--data-dir": folder / "data",
        "--config_path": folder / "config.json",
        "--port": 8080,
    } | {f"--{key.replace('_', '-')}": value for key, value in changes.items()}
    if "--config-path" in values:
        values["--config_path"] = values.pop("--config-path")
    return [part for pair in values.items() if pair[1] is not ... for part in pair]


# ------------------------------------------------------------------------------------ walk-through
@pytest.mark.parametrize("app_data", ["api_data", "app_data"])
def test_the_walk_through_word_for_word(tmp_path: Path, samples: Path, app_data: str) -> None:
    env = write_env(tmp_path)
    client = ["client", "--env-file", env, "--once"]

    said = fedkit(*client, "--app-data", app_data)
    assert "Nothing to do now" in said
    config_path = tmp_path / "settings" / "config.json"
    assert json.loads(config_path.read_text()) == {
        "data_dir": str(tmp_path / "data"),
        "email": ALICE,
        "server_url": "https://syftbox.openmined.org",
        "client_url": "http://localhost:8080",
    }
    data, own = tmp_path / "data", tmp_path / "data" / "datasites" / ALICE
    assert (data / ("apis" if app_data == "api_data" else "apps")).is_dir()
    mailbox, aggregator = own / app_data / "fl_client", own / app_data / "fl_aggregator"
    for folder in [mailbox / n for n in ("request", "running", "done")]:
        assert folder.is_dir()
    for folder in [aggregator / n for n in ("launch", "running", "done")]:
        assert folder.is_dir()
    for folder in (own, own / "public", mailbox / "request"):
        assert (folder / "syft.pub.yaml").is_file()
        assert (folder / "syftperm.yaml").is_file()

    for path in samples.glob("mnist_label_*.pt"):
        shutil.copy(path, data / "private" / "fl_client")
    shutil.copy(samples / "mnist_test_dataset.pt", data / "private" / "fl_aggregator")

    eight = tutorial(aggregator=ALICE, participants=[ALICE])
    assert len(eight) == 8
    for name in ("model.py", "global_model_weight.pt"):
        shutil.copy(samples / name, aggregator / "launch")
    (aggregator / "launch" / "fl_config.json").write_text(json.dumps(eight))

    # the other spelling is not given again: the folders say which one it is
    said = fedkit(*client, code=3)
    assert "fedkit approve MNIST_FL" in said
    assert (mailbox / "request" / PROJECT / "model.py").is_file()

    if app_data == "api_data":
        shutil.copytree(mailbox / "request" / PROJECT, mailbox / "running" / PROJECT)  # cp -r
    else:
        fedkit("approve", PROJECT, "--config_path", config_path, "--yes")

    said = fedkit(*client)
    assert said.splitlines()[-1] == "Done: MNIST_FL."
    assert (aggregator / "done" / PROJECT).is_dir()
    assert (mailbox / "done" / PROJECT).is_dir()
    assert not (aggregator / "running" / PROJECT).exists()
    assert not (mailbox / "running" / PROJECT).exists()
    metrics = json.loads((own / "public/fl/MNIST_FL/accuracy_metrics.json").read_text())
    assert [entry["round"] for entry in metrics] == [0, 1, 2, 3]
    assert metrics[3]["accuracy"] > 0.75  # 600 images of all digits; a guess has 0.1
    (row,) = json.loads((own / "public/fl/MNIST_FL/participants.json").read_text())
    assert row["Email"] == ALICE
    assert row["Round (current/total)"] == "3/3"
    assert row["Training Progress"] == "Training Completed for Round 3"
    log = (mailbox / "done" / PROJECT / "logs" / "training_logs_round_3.txt").read_text()
    assert log.count("Epoch") == 10
    assert f"{PROJECT}  aggregator   done" in fedkit("status", "--config_path", config_path)
    assert "Nothing to do now" in fedkit(*client)


# ------------------------------------------------------------------------------------ fedkit client
def test_both_spellings_and_options_over_the_env_file(tmp_path: Path) -> None:
    env = write_env(tmp_path, port=8081)
    other = tmp_path / "other" / "config.json"
    fedkit("client", "--env_file", env, "--config-path", other, "--data_dir", tmp_path / "d2",
           "--app_data", "api_data", "--once")  # fmt: skip
    loaded = ClientConfig.load(other)
    assert (loaded.email, loaded.data_dir, loaded.port) == (ALICE, tmp_path / "d2", 8081)
    assert not (tmp_path / "data").exists()
    assert (tmp_path / "d2" / "datasites" / ALICE / "api_data" / "fl_client").is_dir()


def test_what_a_real_client_wrote_into_the_config_stays(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    mine = {"data_dir": str(tmp_path / "data"), "email": ALICE, "server_url": "https://box.example",
            "client_url": "http://127.0.0.1:7938", "access_token": "t"}  # fmt: skip
    path.write_text(json.dumps(mine))
    fedkit("client", *options(tmp_path, port=7938), "--once")
    assert json.loads(path.read_text()) == mine
    fedkit("client", *options(tmp_path, port=7939), "--once")
    assert json.loads(path.read_text()) == mine | {"client_url": "http://localhost:7939"}


@pytest.mark.parametrize(
    ("change", "said"),
    [({"email": BOB}, f"belongs to {ALICE}"), ({"data_dir": "elsewhere"}, "nothing was changed")],
)
def test_another_datasites_config_is_left_alone(
    tmp_path: Path, change: dict[str, str], said: str
) -> None:
    fedkit("client", *options(tmp_path), "--once")
    before = snapshot(tmp_path)
    changes = {k: tmp_path / v if k == "data_dir" else v for k, v in change.items()}
    output = fedkit("client", *options(tmp_path, **changes), "--once", code=1)
    assert said in output
    assert "--config_path" in output
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["client"], 2, "missing: EMAIL, DATA_DIR, CONFIG_PATH, PORT"),
        (["client", "--email", ALICE, "--port", "8080"], 2, "missing: DATA_DIR, CONFIG_PATH"),
        # what the shell makes of unset variables
        (["client", "--email", "--data-dir", "--config_path", "--port"], 2, "missing: EMAIL"),
        (
            ["client", "--email", "", "--data-dir", "", "--config_path", "", "--port", "1"],
            2,
            "EMAIL",
        ),
        (["client", "--env-file", "{tmp}/no.env"], 1, "no.env: is not there"),
        (["client", "--env-file", "{env}", "--port", "0"], 2, "--port"),
        (["client", "--env-file", "{env}", "--port", "eighty"], 2, "--port"),
        (["client", "--env-file", "{env}", "--app-data", "apps"], 2, "--app-data"),
        (["client", "--env-file", "{env}", "--email", "alice"], 1, "alice@example.org"),
        (["client", "--env-file", "{env}", "--email", "a@b.test"], 1, "is no valid e-mail"),
        (["client", "--env-file", "{env}", "--email", "../a@example.org"], 1, "no e-mail that can"),
        (["client", "--env-file", "{env}", "--data-dir", "{tmp}/file"], 1, "can't be created"),
        (["client", "--env-file", "{env}", "--config_path", "{tmp}"], 1, "regular file"),
        (["client", "--env-file", "{env}", "--config_path", "{tmp}/file"], 1, "not valid JSON"),
        (["client", "--env-file", "{env}", "more"], 2, "more"),
        (["approve"], 2, "PROJECT"),
        (["approve", "P", "--config_path", "{tmp}/none.json"], 1, "run `fedkit client` once"),
        (["status", "--config_path", "{tmp}/none.json"], 1, "run `fedkit client` once"),
        (["status", "--jsn"], 2, "--jsn"),
        (["stats"], 2, "stats"),
    ],
)
def test_a_bad_command_line(tmp_path: Path, args: list[str], code: int, said: str) -> None:
    (tmp_path / "file").write_text("text")
    places = {"{tmp}": str(tmp_path), "{env}": str(write_env(tmp_path))}
    before = snapshot(tmp_path)
    for mark, place in places.items():
        args = [arg.replace(mark, place) for arg in args]
    if args[0] == "client":
        args.append("--once")
    output = fedkit(*args, code=code)
    assert said in output
    assert "Traceback" not in output
    made = {path for path in snapshot(tmp_path) if path not in before}
    # a data dir of the right owner may stay behind where only the config's path is wrong
    assert not [path for path in made if "config.json" in path or not path.startswith("data")]


@pytest.mark.parametrize("value", ["0", "65536", "-1", "http", "80 80", "\N{SUPERSCRIPT TWO}"])
def test_a_bad_port_in_the_env_file_is_named(tmp_path: Path, value: str) -> None:
    env = write_env(tmp_path, PORT=value)
    output = fedkit("client", "--env-file", env, "--once", code=1)
    assert f"{env}: PORT: {value!r} is no port" in output
    assert not (tmp_path / "data").exists()


def test_a_problem_is_exit_code_one_and_stops_no_other_project(tmp_path: Path) -> None:
    site = solo(tmp_path / "data")
    put_launch(site)
    fedkit("client", *options(tmp_path), "--once", code=3)
    fedkit("approve", PROJECT, "--config_path", tmp_path / "config.json", "--yes")
    put_launch(site, small(project_name="Broken", aggregator=ALICE, participants=[ALICE]), "x = ")
    output = fedkit("client", *options(tmp_path), "--once", code=1)
    assert "PROBLEM" in output
    assert "syntax error in line 1" in output
    assert "Put right what is named above" in output
    assert (site.client().done / PROJECT).is_dir()


# ----------------------------------------------------------------------------------- fedkit status
def test_status_says_where_each_project_stands(tmp_path: Path) -> None:
    site = Datasite.create(tmp_path / "data", ALICE)
    path = tmp_path / "config.json"
    ClientConfig(site.data_dir, ALICE).save(path)

    def states() -> dict[tuple[str, str], tuple[str, list[str]]]:
        found = json.loads(fedkit("status", "--config_path", path, "--json"))
        assert found.keys() == {"email", "data_dir", "app_data", "projects"}
        assert (found["email"], found["app_data"]) == (ALICE, "app_data")
        keys = {"project", "role", "state", "waits_for", "text"}
        assert all(row.keys() == keys for row in found["projects"])
        return {(r["project"], r["role"]): (r["state"], r["waits_for"]) for r in found["projects"]}

    assert states() == {}
    assert "A project begins with" in fedkit("status", "--config_path", path)
    config = small(aggregator=ALICE, participants=[ALICE])
    config.save(site.aggregator().launch / "fl_config.json")
    before = snapshot(tmp_path)
    assert states() == {(PROJECT, "aggregator"): ("launch", [ALICE])}
    assert snapshot(tmp_path) == before  # it looks only
    put_launch(site, config)
    node.advance(site)
    assert states()[PROJECT, "participant"] == ("request", [ALICE])
    output = fedkit("status", "--config_path", path)
    assert f"{ALICE} must approve the request of {ALICE}" in output
    (site.client().request / PROJECT / "model.py").unlink()
    assert states()[PROJECT, "participant"][0] == "problem"
    node.advance(site)
    fedkit("approve", PROJECT, "--config-path", path, "--yes")
    assert states()[PROJECT, "participant"] == ("running", [ALICE])
    write_dataset(site.private_aggregator / "mnist_test_dataset.pt", *held_out())
    for digit in (0, 1):
        write_dataset(site.private_client / f"mnist_label_{digit}.pt", *shard([digit]))
    node.advance(site)
    assert {row[0] for row in states().values()} == {"done"}


def test_status_names_everybody_who_is_waited_for(tmp_path: Path) -> None:
    net = launched(tmp_path)
    net.run()
    path = net[AGGREGATOR].data_dir / "config.json"
    rows = json.loads(fedkit("status", "--config_path", path, "--json"))["projects"]
    assert rows[0]["waits_for"] == [ALICE, BOB]


def test_the_wrong_app_data_is_a_clear_message(tmp_path: Path) -> None:
    fedkit("client", *options(tmp_path), "--once")
    output = fedkit(
        "status", "--config_path", tmp_path / "config.json", "--app-data", "api_data", code=1
    )
    assert "--app-data" in output


# ---------------------------------------------------------------------------------- fedkit approve
@pytest.fixture
def asked(tmp_path: Path) -> tuple[Datasite, Path]:
    """A datasite with a pending request, and its config.json."""
    site = solo(tmp_path / "data")
    put_launch(site)
    node.advance(site)
    path = tmp_path / "config.json"
    ClientConfig(site.data_dir, ALICE).save(path)
    return site, path


def test_approve_shows_what_would_run(asked: tuple[Datasite, Path]) -> None:
    site, path = asked
    output = fedkit("approve", PROJECT, "--config_path", path, "--yes")
    digests = {
        p.name: snapshot(p.parent)[p.name]
        for p in (site.client().running / PROJECT).iterdir()
        if p.is_file()
    }
    for name in ("fl_config.json", "model.py"):
        assert f"sha256 {digests[name]}  {name}" in output
    for line in LINEAR.strip().splitlines():
        assert line in output
    for text in ("rounds", "batch_size", "learning_rate", ALICE):
        assert text in output
    assert (site.client().running / PROJECT / "agg_weights" / "syft.pub.yaml").is_file()
    again = fedkit("approve", PROJECT, "--config_path", path, "--yes", code=1)
    assert "was approved before and is under way" in again


def test_approve_without_a_terminal_asks_for_yes(asked: tuple[Datasite, Path]) -> None:
    site, path = asked
    for stdin in ("", "y\n", None):
        output = fedkit("approve", PROJECT, "--config_path", path, stdin=stdin, code=2)
        assert f"fedkit approve {PROJECT} --yes" in output
    assert not (site.client().running / PROJECT).exists()


@pytest.mark.parametrize("name", ["MNIST", "", "..", "../request", "/", "MNIST_FL/"])
def test_approve_names_what_is_pending(asked: tuple[Datasite, Path], name: str) -> None:
    site, path = asked
    before = snapshot(site.data_dir)
    output = fedkit("approve", "--config_path", path, "--yes", "--", name, code=1)
    assert f"waiting for an answer: {PROJECT}" in output
    assert snapshot(site.data_dir) == before


def test_approve_approves_what_was_shown_not_what_lies_there_by_then(
    asked: tuple[Datasite, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, path = asked
    request = site.client().request / PROJECT / "model.py"
    shown = request.read_bytes()

    def meanwhile(text: str, **options: Any) -> bool:
        request.write_bytes(shown + b"\nimport os  # slipped in while the person reads\n")
        return True

    monkeypatch.setattr(cli_approve.typer, "confirm", meanwhile)
    monkeypatch.setattr(cli_approve, "_is_there_a_terminal", lambda: True)
    fedkit("approve", PROJECT, "--config_path", path)
    assert (site.client().running / PROJECT / "model.py").read_bytes() == shown


def test_a_no_changes_nothing(
    asked: tuple[Datasite, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, path = asked
    before = snapshot(site.data_dir)
    monkeypatch.setattr(cli_approve, "_is_there_a_terminal", lambda: True)
    output = fedkit("approve", PROJECT, "--config_path", path, stdin="n\n", code=1)
    assert "Not approved" in output
    assert "no answer" in fedkit("approve", PROJECT, "--config_path", path, stdin="", code=2)
    assert snapshot(site.data_dir) == before
    fedkit("approve", PROJECT, "--config_path", path, stdin="y\n")
    assert (site.client().running / PROJECT).is_dir()


def test_approve_shows_what_a_terminal_would_hide(tmp_path: Path) -> None:
    site = solo(tmp_path / "data")
    hidden = "# harmless\x1b[2K\x1b[1A \u202e \u2066\rimport os\n"
    config = small(aggregator=ALICE, participants=[ALICE]).replace(note="a\x1b[31mb")
    put_launch(site, config, LINEAR + hidden)
    node.advance(site)
    ClientConfig(site.data_dir, ALICE).save(tmp_path / "config.json")
    output = fedkit("approve", PROJECT, "--config_path", tmp_path / "config.json", "--yes")
    assert not {"\x1b", "\u202e", "\u2066", "\r"} & set(output)
    assert r"# harmless\x1b[2K\x1b[1A \u202e \u2066" in output
    assert "\nimport os" in output  # to Python, \r alone ends a line
    assert r"a\x1b[31mb" in output
    assert "does not know this key" in output


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äöü 数字 – …\n\tx", "plain äöü 数字 – …\n\tx"),
        ("a\x1bb\x00c\x7f", r"a\x1bb\x00c\x7f"),
        ("a\u200bb\u2028c\ufeff", r"a\u200bb\u2028c\ufeff"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\U000e0041", r"a\U000e0041"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


# ------------------------------------------------------------------------------ the running client
class Running:
    """A `fedkit client` in a process of its own, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self.log = process, log

    def until(self, text: str) -> str:
        """Wait until it has said `text`; returns all that it said."""
        return self.wait(lambda: text in self.said(), f"it did not say {text!r}")

    def said(self) -> str:
        return self.log.read_text()

    def wait(self, true: Callable[[], bool], why: str) -> str:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if true():
                return self.said()
            time.sleep(0.02)
        raise AssertionError(f"{why}, but: {self.said()}")

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@contextmanager
def running(folder: Path, *args: object) -> Iterator[Running]:
    log = folder / "client.log"
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*FEDKIT, *map(str, args)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        try:
            yield Running(process, log)
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
def test_the_running_client(tmp_path: Path) -> None:
    """A whole life: acts on files, serves, gets along with a second one, ends in the middle of a long training."""
    port, site = free_port(), solo(tmp_path / "data")
    with running(tmp_path, "client", *options(tmp_path, port=port)) as client:
        client.until("Watching")
        url = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{url}/", timeout=10) as page:
            assert page.status == 200
        put_launch(site)
        client.until("approve the request")
        # a second client: the port is taken
        taken = fedkit("client", *options(tmp_path, port=port), code=1)
        assert f"port {port} can't be used" in taken
        # a second process on the same datasite works, beside the running one
        fedkit("client", *options(tmp_path, port=port), "--once", code=3)
        fedkit("approve", PROJECT, "--config_path", tmp_path / "config.json", "--yes")
        client.until("done, as participant")
        with urllib.request.urlopen(
            f"{url}/fl/{PROJECT}/accuracy_metrics.json", timeout=10
        ) as page:
            assert len(json.load(page)) == 3
        # a training of hours, and an end in the middle of it
        long = small(project_name="Long", aggregator=ALICE, participants=[ALICE], epoch=1_000_000)
        put_launch(site, long)
        client.wait(lambda: (site.client().request / "Long" / "model.py").is_file(), "no request")
        fedkit("approve", "Long", "--config_path", tmp_path / "config.json", "--yes")
        log = site.client().running / "Long" / "logs" / "training_logs_round_1.txt"
        client.wait(log.is_file, "no training")
        assert client.end(signal.SIGTERM) == 0
        assert "Stopped. Start it again" in client.said()
        assert "Traceback" not in client.said()
        assert client.said().count("waits for alice@example.org to approve the request of") == 2
    # the port is free again, and nobody holds the datasite
    with Server(site, port), node.locked(site):
        pass


@contextmanager
def interrupting(number: int, when: Callable[[], bool]) -> Iterator[None]:
    """Send this very process a signal as soon as `when`, and again until the block ends."""
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.02):
            if when():
                os.kill(os.getpid(), number)
                over.wait(0.3)

    before = signal.signal(number, lambda *_: None)  # one that comes late must not end the tests
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(number, before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_ctrl_c_ends_once_and_the_next_one_goes_on(tmp_path: Path) -> None:
    def final(folder: Path, interrupt: bool) -> dict[str, torch.Tensor]:
        site = solo(folder / "data")
        put_launch(site, small(aggregator=ALICE, participants=[ALICE], epoch=600, rounds=1))
        fedkit("client", *options(folder), "--once", code=3)
        fedkit("approve", PROJECT, "--config_path", folder / "config.json", "--yes")
        log = site.client().running / PROJECT / "logs" / "training_logs_round_1.txt"
        if interrupt:
            with interrupting(signal.SIGINT, log.is_file):
                said = fedkit("client", *options(folder), "--once", code=130)
            assert "Run the same command again" in said
            assert not (site.client().done / PROJECT).exists()
        fedkit("client", *options(folder), "--once")
        return read_state(site.client().done / PROJECT / "agg_weights" / "agg_model_round_1.pt")

    cut, whole = final(tmp_path / "cut", True), final(tmp_path / "whole", False)
    assert all(torch.equal(cut[name], whole[name]) for name in whole)


def test_once_waits_for_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = solo(tmp_path / "data")
    monkeypatch.setattr("fedkit.cli.client._PATIENCE_S", 0.2)
    with node.locked(site):
        output = fedkit("client", *options(tmp_path), "--once", code=1)
    assert "waiting for its turn" in output
    assert "stop it first" in output
    assert "Nothing to do now" in fedkit("client", *options(tmp_path), "--once")


# ------------------------------------------------------------------------------------ fedkit doctor
def test_doctor_says_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "_requirements", lambda: ["torch>=2.6", "pyyaml>=6.0.1", "ipython"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        output = fedkit("doctor", "--port", port)
    assert f"note    port {port} is taken" in output
    assert "ok      the digits: 10,000 and 2,000" in output
    assert "ok      torch trains with 1 thread(s)" in output
    assert "fedkit can run here." in output
    assert all(line.startswith(("ok  ", "note  ")) for line in output.splitlines()[:-1])


def test_doctor_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_requirements", lambda: ["torch>=99.1", "not-there-at-all>=1"])
    monkeypatch.setenv("FEDKIT_DATA", str(tmp_path))
    output = fedkit("doctor", code=1)
    missing = [line for line in output.splitlines() if line.startswith("MISSING")]
    assert len(missing) == 3
    assert all(" -> " in line for line in missing)
    assert "is older than 99.1" in missing[0]
    assert "not-there-at-all is not installed" in missing[1]
    assert "mnist_12k.npz" in missing[2]


def test_doctor_knows_every_requirement_by_the_name_to_import() -> None:
    """The names are found without importing, which would take long here."""
    from importlib.util import find_spec

    for line in doctor._requirements():
        name = line.split(">")[0].strip().lower()
        assert find_spec(doctor.IMPORT_NAMES.get(name, name.replace("-", "_"))), line


# ------------------------------------------------------------------------------------- the command
def test_help_names_every_command_and_says_what_it_does() -> None:
    output = fedkit("--help")
    for name in ("client", "approve", "status", "run", "data", "course", "doctor"):
        assert name in output
        assert "Usage" in fedkit(name, "--help")
    assert fedkit("--version").startswith("fedkit ")


def test_the_command_is_there_without_its_script() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fedkit", "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith("fedkit ")
