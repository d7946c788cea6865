"""`fedkit client` and `fedkit status`: what they do, once and for hours, and all that can go wrong on the way."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from pathlib import Path

import pytest
import torch

from fedkit.base.files import read_state, write_dataset
from fedkit.cli.serve import Server
from fedkit.config.client_config import ClientConfig
from fedkit.datasite.datasite import Datasite
from fedkit.protocol import advance as node
from tests.support.cli import fedkit, free_port, interrupting, running, write_env
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    PROJECT,
    held_out,
    launched,
    put_launch,
    shard,
    small,
    snapshot,
    solo,
)


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
        wanted = {"email", "data_dir", "app_data", "road", "others_can_write", "projects"}
        assert found.keys() == wanted
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


# ------------------------------------------------------------------------------ the running client
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
        asks = "waits for alice@example.org to approve the request of"
        client.wait(lambda: client.said().count(asks) == 2, "no second request")
        fedkit("approve", "Long", "--config_path", tmp_path / "config.json", "--yes")
        log = site.client().running / "Long" / "logs" / "training_logs_round_1.txt"
        client.wait(log.is_file, "no training")
        assert client.end(signal.SIGTERM) == 0
        assert "Stopped. Start it again" in client.said()
        assert "Traceback" not in client.said()
        assert client.said().count(asks) == 2
    # the port is free again, and nobody holds the datasite
    with Server(site, port), node.locked(site):
        pass


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


def test_a_synced_folder_is_said_once_and_kept(tmp_path: Path) -> None:
    path, data_dir = tmp_path / "config.json", tmp_path / "data"
    where = ["--data-dir", data_dir, "--config_path", path, "--email", ALICE, "--port", 8080]
    fedkit("client", *where, "--synced", "--once")
    fedkit("client", *where, "--once")
    assert "Others can write here" in fedkit("status", "--config_path", path)
    told = json.loads(fedkit("status", "--config_path", path, "--json"))
    assert (told["road"], told["others_can_write"]) == ("synced", True)


def test_a_road_is_not_left_with_projects_under_way(tmp_path: Path) -> None:
    site = solo(tmp_path / "data")
    put_launch(site, small(aggregator=ALICE, participants=[ALICE]))
    node.advance(site)
    where = ["--data-dir", tmp_path / "data", "--config_path", tmp_path / "config.json"]
    told = fedkit("client", *where, "--email", ALICE, "--port", 8080, "--synced", "--once", code=1)
    assert "has projects under way on the road 'own'" in told
