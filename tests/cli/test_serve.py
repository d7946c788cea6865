"""The local page: what is public is served, to this machine only; nothing else is, however it is asked for."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedkit.base.errors import FedkitError
from fedkit.cli.serve import Server
from fedkit.datasite.datasite import Datasite
from tests.support.cli import ask
from tests.support.helpers import ALICE

METRICS = [{"accuracy": 0, "round": 0}, {"accuracy": 0.5, "round": 1}]
SECRET = b"nobody else may ever see this"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Datasite:
    """A datasite with something of every kind in public/, and secrets around it."""
    root = tmp_path_factory.mktemp("served")
    site = Datasite.create(root / "data", ALICE)
    public, project = site.public, site.public / "fl" / "MNIST_FL"
    project.mkdir(parents=True)
    (project / "accuracy_metrics.json").write_text(json.dumps(METRICS))
    history = {"rounds": 3, "history": [{"round": 1, "accuracy": 0.5}]}
    (project / "history.json").write_text(json.dumps(history))
    (public / "a b%.txt").write_bytes("é".encode())
    (public / "page.HTML").write_bytes(b"<p>")
    (public / "model.pt").write_bytes(b"\x80\x02")
    (public / "fl" / "<b>bold").mkdir()
    for place in (public / ".hidden", public / ".git" / "config", site.private_client / "x.pt"):
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(SECRET)
    (root / "outside").mkdir()
    (root / "outside" / "secret.txt").write_bytes(SECRET)
    (site.root / "secret.txt").write_bytes(SECRET)
    (public / "file_link").symlink_to(root / "outside" / "secret.txt")
    (public / "folder_link").symlink_to(root / "outside")
    (public / "inner_link").symlink_to(project)
    return site


@pytest.fixture(scope="module")
def server(site: Datasite) -> Iterator[Server]:
    with Server(site, 0) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        ("/fl/MNIST_FL/accuracy_metrics.json", json.dumps(METRICS).encode(), "application/json"),
        ("/fl/MNIST_FL/accuracy_metrics.json?x=/../..", None, "application/json"),
        ("/a%20b%25.txt", "é".encode(), "text/plain; charset=utf-8"),
        ("/page.HTML", b"<p>", "text/html; charset=utf-8"),
        ("/model.pt", b"\x80\x02", "application/octet-stream"),
    ],
)
def test_public_files_are_served(server: Server, path: str, content: bytes, kind: str) -> None:
    status, headers, body = ask(server, path)
    assert status == 200
    assert content is None or body == content
    assert headers["content-type"] == kind
    assert int(headers["content-length"]) == len(body)


def test_every_answer_has_the_headers(server: Server) -> None:
    for path, host in [
        ("/", "localhost"),
        ("/model.pt", "localhost"),
        ("/no", "localhost"),
        ("/", "x.org"),
    ]:
        _, headers, _ = ask(server, path, host=host)
        assert "default-src 'self'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert not {"etag", "last-modified", "server", "access-control-allow-origin"} & set(headers)


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/fl/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E%2E%2Fsecret.txt",
        "/..%2fsecret.txt",
        "/fl/%2e%2e/%2e%2e/secret.txt",
        "/%252e%252e/secret.txt",
        "/..\\secret.txt",
        "/..%5csecret.txt",
        "/....//secret.txt",
        "//secret.txt",
        "/./fl/MNIST_FL/history.json",
        "/fl//MNIST_FL/history.json",
        "/%c0%ae%c0%ae/secret.txt",
        "/secret.txt%00.json",
        "/C:/secret.txt",
        "/{outside}",
        "/%2f{outside}",
        "{outside}",
        "/.hidden",
        "/%2ehidden",
        "/.git/config",
        "/syft.pub.yaml",
        "/SYFT.pub.yaml",
        "/syft%2epub.yaml",
        "/syft.pub.yaml.",
        "/syft.pub.yaml%20",
        "/syftperm.yaml",
        "/file_link",
        "/folder_link/secret.txt",
        "/inner_link/history.json",
        "/fl",
        "/fl/",
        "/fl/MNIST_FL/",
        "/model.pt/",
        "/model.pt/x",
        pytest.param("/" + "a" * 5000, id="5000 characters"),
        "http://localhost/secret.txt",
    ],
)
def test_nothing_else_is_served(server: Server, site: Datasite, path: str) -> None:
    outside = str(site.data_dir.parent / "outside" / "secret.txt")
    status, _, body = ask(server, path.replace("{outside}", outside))
    assert status in (400, 404)
    assert SECRET not in body
    assert b"rules" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FETCH"])
@pytest.mark.parametrize("path", ["/", "/model.pt"])
def test_only_looking_is_allowed(server: Server, method: str, path: str) -> None:
    status, headers, _ = ask(server, path, method)
    assert status == 405
    assert headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/model.pt", "/nothing"])
def test_head_is_get_without_a_body(server: Server, path: str) -> None:
    got, head = ask(server, path), ask(server, path, "HEAD")
    assert head[2] == b""
    drop = {"date"}
    assert head[0] == got[0]
    assert {k: v for k, v in head[1].items() if k not in drop} == {
        k: v for k, v in got[1].items() if k not in drop
    }


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LocalHost:8080", 200),
        ("127.0.0.1", 200),
        ("127.0.0.1:{port}", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("evil.example:{port}", 403),
        ("localhost:x", 403),
        ("127.0.0.1.nip.io", 403),
        ("0.0.0.0", 403),
        ("", 403),
    ],
)
def test_other_hosts_are_refused(server: Server, host: str, status: int) -> None:
    for path in ("/", "/model.pt"):
        found, _, body = ask(server, path, host=host.format(port=server.port))
        assert found == status
        assert status == 200 or body == b"403 Forbidden\n"


def test_a_request_without_a_host_is_refused(server: Server) -> None:
    assert ask(server, "/model.pt", host=None)[0] in (400, 403)


def test_only_loopback_is_bound(server: Server) -> None:
    with socket.socket() as other:
        # were every address bound, this one would be taken
        other.bind(("127.0.0.2", server.port))


def test_it_starts_and_stops_and_starts_again(tmp_path: Path) -> None:
    site = Datasite.create(tmp_path, ALICE)
    server = Server(site, 0).start()
    port = server.port
    assert ask(server, "/")[0] == 200
    server.stop()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        ask(server, "/")
    with Server(site, port) as again:
        assert ask(again, "/")[0] == 200


def test_a_taken_port_is_a_clear_message(server: Server, site: Datasite) -> None:
    with pytest.raises(FedkitError, match=rf"port {server.port} can't be used.*--port"):
        Server(site, server.port).start()
