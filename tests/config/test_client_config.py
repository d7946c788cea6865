"""A datasite's own settings: `.env`, `config.json`, and where they are looked for."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedkit.base.errors import FedkitError
from fedkit.config.client_config import CONFIG_PATH_VARIABLE, ClientConfig, read_env
from fedkit.datasite.datasite import Datasite
from tests.support.helpers import ALICE


def write(path: Path, values: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def complaint(path: Path) -> FedkitError:
    with pytest.raises(FedkitError) as caught:
        ClientConfig.load(path)
    assert caught.value.file == path
    assert caught.value.remedy
    return caught.value


# ------------------------------------------------------------------------------------- config.json
def test_the_four_keys_that_every_syftbox_client_loads(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config.json"
    config = ClientConfig(tmp_path / "data", ALICE, client_url="http://localhost:8085")
    config.save(path)
    written = json.loads(path.read_text(encoding="utf-8"))
    assert set(written) == {"data_dir", "email", "server_url", "client_url"}
    assert all(isinstance(value, str) for value in written.values())
    assert ClientConfig.load(path) == config
    assert ClientConfig.load(path).port == 8085


def test_what_a_real_client_added_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "config.json", {"email": "old@example.org", "access_token": "secret"})
    ClientConfig(tmp_path, ALICE).save(path)
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["access_token"] == "secret"
    assert written["email"] == ALICE
    before = path.stat().st_mtime_ns
    ClientConfig(tmp_path, ALICE).save(path)
    assert path.stat().st_mtime_ns == before  # nothing to say, nothing written


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(tmp_path / ".syftbox" / "config.json", {"data_dir": "~/x", "email": ALICE})
    assert ClientConfig.load().data_dir == tmp_path / "x"
    named = write(tmp_path / "named.json", {"data_dir": "y", "email": ALICE})
    monkeypatch.setenv(CONFIG_PATH_VARIABLE, str(named))
    assert ClientConfig.load().data_dir == Path("y")
    with pytest.raises(FedkitError, match="fedkit client"):
        ClientConfig.load(tmp_path / "nowhere.json")


@pytest.mark.parametrize("url", ["http://localhost:8080", "http://localhost:8080/", 8080])
def test_the_port(tmp_path: Path, url: Any) -> None:
    values = {"data_dir": "x", "email": ALICE, "client_url": url}
    assert ClientConfig.load(write(tmp_path / "config.json", values)).port == 8080


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"data_dir": None}, "data_dir"),
        ({"data_dir": ""}, "data_dir"),
        ({"data_dir": 3}, "data_dir"),
        ({"email": None}, "email"),
        ({"email": "alice"}, "email"),
        ({"email": "a: b; c"}, "email"),
        ({"email": "../a@example.org"}, "email"),
        ({"email": "nul.a@example.org"}, "email"),
        ({"client_url": "http://localhost"}, "client_url"),
        ({"client_url": "http://localhost:port"}, "client_url"),
        ({"client_url": ["x"]}, "client_url"),
    ],
)
def test_wrong_values_name_file_field_and_remedy(
    tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    values = {"data_dir": "x", "email": ALICE, "client_url": "http://localhost:8080"} | changes
    assert complaint(write(tmp_path / "config.json", values)).field == field


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff", b'{"email": 1, "email": 2}'])
def test_what_is_no_json_object(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    complaint(tmp_path / "config.json")


JSON = st.dictionaries(
    st.sampled_from(["data_dir", "email", "server_url", "client_url", "x"]),
    st.none() | st.integers() | st.text(max_size=9) | st.lists(st.text(max_size=3), max_size=2),
)


@given(JSON)
def test_any_object_is_a_config_or_an_error_for_people(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    path = write(tmp_path_factory.getbasetemp() / "any.json", {"email": ALICE} | values)
    try:
        site = Datasite.load(path)
    except FedkitError as error:
        said = str(error)
    else:
        said = f"{site.data_dir} -> "
    assert " -> " in said


def test_a_data_dir_that_can_be_none(tmp_path: Path) -> None:
    for name in ("a\0b", "~nobody-of-this-name/x"):
        with pytest.raises(FedkitError) as caught:
            Datasite.create(name, ALICE)
        assert caught.value.remedy


# -------------------------------------------------------------------------------------------- .env
def env(folder: Path, content: str | bytes) -> Path:
    path = folder / ".env"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_the_tutorials_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    path = env(
        tmp_path,
        "# mine\nEMAIL=alice@example.org\nexport DATA_DIR=~/data\n"
        "CONFIG_PATH='a b/config.json'\nPORT = 8085\nOTHER=1\n",
    )
    assert read_env(path) == {
        "EMAIL": ALICE,
        "DATA_DIR": str(tmp_path / "data"),
        "CONFIG_PATH": str(tmp_path / "a b" / "config.json"),
        "PORT": "8085",
    }


@pytest.mark.parametrize(
    "content", ["\ufeffEMAIL=alice@example.org\r\n", "EMAIL=alice@example.org", "EMAIL: x\n"]
)
def test_what_editors_make_of_it(tmp_path: Path, content: str) -> None:
    """A byte order mark, Windows' line ends, no end of line; a line that is no assignment is left out."""
    assert set(read_env(env(tmp_path, content)).values()) <= {ALICE}


@pytest.mark.parametrize("line", ["EMAIL", "EMAIL=", "PORT=''"])
def test_a_key_without_a_value_is_named(tmp_path: Path, line: str) -> None:
    path = env(tmp_path, f"{line}\n")
    with pytest.raises(FedkitError) as caught:
        read_env(path)
    assert (caught.value.file, caught.value.field) == (path, line.split("=")[0])
    assert caught.value.remedy


@pytest.mark.parametrize("content", [None, b"EMAIL=\xff\xfe\n", "E\0MAIL=x", "DATA_DIR=~nobody9/x"])
def test_an_env_that_cannot_be_read(tmp_path: Path, content: str | bytes | None) -> None:
    path = tmp_path / ".env" if content is None else env(tmp_path, content)
    try:
        found = read_env(path)
    except FedkitError as error:
        assert error.file == path  # noqa: PT017 (either is right)
        assert error.remedy  # noqa: PT017
    else:
        assert content == "E\0MAIL=x"
        assert found == {}


def test_a_relative_path_counts_from_the_file_wherever_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "course").mkdir()
    env(tmp_path / "course", b"DATA_DIR=alice\nCONFIG_PATH=alice/config.json\n")
    for folder, name in ((tmp_path / "course", ".env"), (tmp_path, "course/.env")):
        monkeypatch.chdir(folder)
        assert read_env(Path(name)) == {
            "DATA_DIR": str(tmp_path / "course" / "alice"),
            "CONFIG_PATH": str(tmp_path / "course" / "alice" / "config.json"),
        }


UNREAD = {
    "email=alice@example.org": ("email", "write EMAIL="),
    "Data_Dir=x": ("Data_Dir", "write DATA_DIR="),
    "DATA_DIR='my data": ("DATA_DIR", "close what is in quotes"),
    "DATA_DIR=${FEDKIT_NOT_SET}/x": ("DATA_DIR", "write the value itself"),
    "EMAIL=${FEDKIT_NOT_SET}": ("EMAIL", "write the value itself"),
    "CONFIG_PATH=$FEDKIT_NOT_SET/x": ("CONFIG_PATH", "write the path itself"),
    "DATA_DIR=%FEDKIT_NOT_SET%/x": ("DATA_DIR", "write the path itself"),
}


@pytest.mark.parametrize("line", UNREAD)
def test_what_would_be_lost_or_mistaken_is_named(tmp_path: Path, line: str) -> None:
    field, remedy = UNREAD[line]
    with pytest.raises(FedkitError) as caught:
        read_env(str(env(tmp_path, f"PORT=8080\n{line}\n")))  # type: ignore[arg-type]
    assert caught.value.field == field
    assert remedy in str(caught.value.remedy)


def test_a_path_that_no_disk_takes_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(FedkitError, match="is no folder") as caught:
        read_env(env(tmp_path, f"DATA_DIR={'x' * 100_000}\n"))
    assert len(str(caught.value)) < 1_000


def test_variables_are_what_they_stand_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDKIT_SET", str(tmp_path / "there"))
    for written in (
        "$FEDKIT_SET/x",
        "${FEDKIT_SET}/x",
        "${FEDKIT_NOT_SET:-" + str(tmp_path / "there") + "}/x",
    ):
        found = read_env(env(tmp_path, f"DATA_DIR={written}\n"))
        assert found == {"DATA_DIR": str(tmp_path / "there" / "x")}
    own = read_env(env(tmp_path, f"HERE={tmp_path}\nDATA_DIR=${{HERE}}/y\n"))
    assert own == {"DATA_DIR": str(tmp_path / "y")}


@pytest.mark.skipif(os.name == "nt", reason="there they are paths")
@pytest.mark.parametrize("written", ["data\\alice", ".\\alice", "\\alice"])
def test_a_relative_path_of_windows_is_said_too_and_in_a_config(
    tmp_path: Path, written: str
) -> None:
    with pytest.raises(FedkitError, match=r"DATA_DIR: .* is a path of Windows"):
        read_env(env(tmp_path, f"DATA_DIR={written}\n"))
    path = write(tmp_path / "config.json", {"data_dir": written, "email": ALICE})
    assert "a path of Windows" in str(complaint(path))
    (tmp_path / written).mkdir()  # a name like others, where it is one
    write(path, {"data_dir": str(tmp_path / written), "email": ALICE})
    assert ClientConfig.load(path).data_dir == tmp_path / written


@pytest.mark.skipif(os.name == "nt", reason="there they are paths")
@pytest.mark.parametrize("written", ["C:\\new\\alice", '"C:\\new\\alice"', "'C:\\new\\alice'"])
def test_a_path_of_windows_is_said_on_other_systems(tmp_path: Path, written: str) -> None:
    with pytest.raises(FedkitError, match="a path of Windows") as caught:
        read_env(env(tmp_path, f"DATA_DIR={written}\n".encode()))
    assert caught.value.what.startswith(repr("C:\\new\\alice")), (
        "in double quotes \\n is no new line"
    )
    assert "wslpath" in str(caught.value.remedy)


def test_inside_a_data_dir_its_own_config_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.delenv(CONFIG_PATH_VARIABLE, raising=False)
    write(tmp_path / "home" / ".syftbox" / "config.json", {"data_dir": "~/x", "email": ALICE})
    write(tmp_path / "bob" / "config.json", {"data_dir": "/b", "email": "bob@example.org"})
    monkeypatch.chdir(tmp_path / "bob")
    assert ClientConfig.load().email == ALICE, "any config.json is no data dir"
    (tmp_path / "bob" / "datasites" / "deep").mkdir(parents=True)
    for folder in (tmp_path / "bob", tmp_path / "bob" / "datasites" / "deep"):
        monkeypatch.chdir(folder)
        assert ClientConfig.load().email == "bob@example.org"
