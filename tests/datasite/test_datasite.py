"""A datasite is a folder: its grammar, its creation, and finding it again."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_json, write_dataset, write_json
from fedkit.config.client_config import ClientConfig
from fedkit.data.shards import write_shard
from fedkit.datasite.datasite import Datasite
from fedkit.learning.models import SAMPLE_MODEL, seed_weights
from fedkit.protocol import advance as node
from fedkit.protocol.approval import approve
from tests.support.helpers import (
    AGGREGATOR,
    ALICE,
    BOB,
    held_out,
    put_launch,
    run_solo,
    shard,
    small,
    snapshot,
    tutorial,
)


@pytest.mark.parametrize(("app_data", "apps"), [("app_data", "apps"), ("api_data", "apis")])
def test_the_folders_of_a_datasite(tmp_path: Path, app_data: str, apps: str) -> None:
    """As OpenMined's apps name them, today and in the tutorial."""
    site = Datasite.create(tmp_path, ALICE, app_data)  # type: ignore[arg-type]
    folders = {
        path.relative_to(tmp_path).as_posix()
        for path in tmp_path.rglob("*")
        if path.is_dir() and not any(path.iterdir())
    }
    box = f"datasites/{ALICE}/{app_data}"
    empty = {f"{box}/fl_client/running", f"{box}/fl_client/done"}
    empty |= {f"{box}/fl_aggregator/{name}" for name in ("launch", "running", "done")}
    empty |= {apps, "private/fl_client", "private/fl_aggregator"}
    assert folders == empty
    assert site.client().request == tmp_path / box / "fl_client" / "request"
    assert site.aggregator(BOB).launch.is_relative_to(tmp_path / "datasites" / BOB / app_data)


def test_both_permission_files_stand_where_peers_look(tmp_path: Path) -> None:
    site = Datasite.create(tmp_path, ALICE)
    for folder in (site.root, site.public, site.client().request):
        rules = yaml.safe_load((folder / "syft.pub.yaml").read_text(encoding="utf-8"))
        assert rules["rules"][0]["access"]["admin"] == [ALICE]
        assert yaml.safe_load((folder / "syftperm.yaml").read_text(encoding="utf-8"))
    # the only sign of an installed client that the real aggregator looks for
    assert (site.client().request / "_.syftperm").is_file()


def test_creating_again_changes_nothing_and_completes_what_is_missing(tmp_path: Path) -> None:
    site = Datasite.create(tmp_path, ALICE)
    (site.private_client / "mnist_label_0.pt").write_bytes(b"precious")
    own = site.public / "syft.pub.yaml"
    own.write_text("rules: []", encoding="utf-8")
    before = snapshot(tmp_path)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    assert Datasite.create(tmp_path, ALICE) == site
    assert snapshot(tmp_path) == before  # rules of a person's own stay
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    (site.client().request / "syftperm.yaml").unlink()
    site.client().done.rmdir()
    Datasite.create(tmp_path, ALICE)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("email", ["alice", "a/b@example.org", "", "con.x@example.org", "a@b.test"])
def test_an_email_that_cannot_be_one_makes_nothing(tmp_path: Path, email: str) -> None:
    with pytest.raises(FedkitError) as caught:
        Datasite.create(tmp_path / "new", email)
    assert caught.value.field == "email"
    assert caught.value.remedy
    assert not (tmp_path / "new").exists()


def test_a_data_dir_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for place in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(FedkitError, match="can't be created") as caught:
            Datasite.create(place, ALICE)
        assert caught.value.remedy


@pytest.mark.parametrize("app_data", ["app_data", "api_data"])
def test_a_datasite_is_found_by_its_config(tmp_path: Path, app_data: str) -> None:
    site = Datasite.create(tmp_path / "data", ALICE, app_data)  # type: ignore[arg-type]
    path = tmp_path / "config.json"
    ClientConfig(site.data_dir, ALICE).save(path)
    assert Datasite.load(path) == site
    assert Datasite.load(path, "app_data").app_data == "app_data"


def test_the_relative_data_dir_of_a_config_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "config.json", {"data_dir": "data", "email": ALICE})
    assert Datasite.load(tmp_path / "config.json").data_dir == tmp_path / "data"
    assert Datasite.create("data", ALICE).data_dir == tmp_path / "data"


def test_private_lies_outside_of_what_syncs(tmp_path: Path) -> None:
    site = Datasite.create(tmp_path, ALICE)
    for private in (site.private_client, site.private_aggregator, site.own):
        assert not private.is_relative_to(site.datasites)


@pytest.mark.parametrize("app_data", ["app_data", "api_data"])
def test_the_tutorials_walk_through(tmp_path: Path, app_data: str) -> None:
    """One machine, one e-mail in both roles, eight keys, `cp -r` for the approval; rounds and epochs made smaller."""
    site = Datasite.create(tmp_path, ALICE, app_data)  # type: ignore[arg-type]
    write_shard(site.private_client, shard(range(10)))
    write_dataset(site.private_aggregator / "mnist_test_dataset.pt", *held_out())
    folder = site.aggregator().launch
    (folder / "model.py").write_text(SAMPLE_MODEL, encoding="utf-8")
    torch.save(seed_weights(SAMPLE_MODEL), folder / "global_model_weight.pt")
    values = tutorial(aggregator=ALICE, participants=[ALICE], epoch=2)
    write_json(folder / "fl_config.json", values)
    node.advance(site)
    asked = site.client().project("MNIST_FL", "request").path
    assert sorted(p.name for p in asked.iterdir()) == ["fl_config.json", "model.py"]
    assert [row.state for row in node.status(site)] == ["running", "request"]
    shutil.copytree(asked, site.client().running / "MNIST_FL")
    node.advance(site)
    assert [row.state for row in node.status(site)] == ["done", "done"]
    results = site.public / "fl" / "MNIST_FL"
    metrics = read_json(results / "accuracy_metrics.json")
    assert [row["round"] for row in metrics] == [0, 1, 2, 3]
    assert metrics[-1]["accuracy"] > metrics[1]["accuracy"] > 0.1
    assert read_json(results / "participants.json")[0]["Round (current/total)"] == "3/3"
    done = site.client().done / "MNIST_FL"
    assert {"agg_weights", "round_weights"} <= {p.name for p in done.iterdir()}
    assert {"agg_weights", "fl_clients"} <= {
        p.name for p in (site.aggregator().done / "MNIST_FL").iterdir()
    }


# --------------------------------------------------------------------------------------------- status
def test_status_says_who_must_do_what_and_changes_nothing(tmp_path: Path) -> None:
    site = Datasite.create(tmp_path, ALICE)

    def look() -> list[tuple[str, str, str, str]]:
        before = snapshot(tmp_path)
        rows = node.status(site)
        assert snapshot(tmp_path) == before
        return [(row.project, row.role, row.state, row.waits_for) for row in rows]

    assert look() == []
    config = small(aggregator=ALICE, participants=[ALICE])
    config.save(site.aggregator().launch / "fl_config.json")
    assert look() == [("MNIST_FL", "aggregator", "launch", ALICE)]
    put_launch(site, config)
    (row,) = look()
    assert row[1:] == ("aggregator", "running", "")  # it can go on by itself
    node.advance(site)
    assert look() == [
        ("MNIST_FL", "aggregator", "running", ALICE),
        ("MNIST_FL", "participant", "request", ALICE),
    ]
    approve(site, "MNIST_FL")
    node.advance(site)
    assert {row[3] for row in look()} == {ALICE}
    assert all("private/" in row.text for row in node.status(site))
    write_shard(site.private_client, shard([0, 1]))
    write_dataset(site.private_aggregator / "mnist_test_dataset.pt", *held_out())
    assert {row[2] for row in look()} == {"running"}
    run_solo(site)
    assert look() == [
        ("MNIST_FL", "aggregator", "done", ""),
        ("MNIST_FL", "participant", "done", ""),
    ]


def test_one_role_alone_leaves_the_other_to_another_app(tmp_path: Path) -> None:
    site = Datasite.create(tmp_path, AGGREGATOR)
    put_launch(site, small(participants=[AGGREGATOR]))
    assert node.advance(site, roles=["participant"]) == []
    assert node.advance(site, roles=["aggregator"])
    assert [e.role for e in node.advance(site, roles=["participant"])] == ["participant"]  # type: ignore[attr-defined]
