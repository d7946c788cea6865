"""A datasite's own settings: `.env` (what the learner writes) and `config.json` (what SyftBox clients load)."""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path, PureWindowsPath

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes, write_bytes
from fedkit.base.names import check_email
from fedkit.base.strict_json import parse_json_object

__all__ = ["CONFIG_PATH_VARIABLE", "ClientConfig", "read_env"]


CONFIG_PATH_VARIABLE = "SYFTBOX_CLIENT_CONFIG_PATH"
SERVER_URL = "https://syftbox.openmined.org"
DEFAULT_PORT = 8080
_ENV_KEYS = ("EMAIL", "DATA_DIR", "CONFIG_PATH", "PORT")


@dataclass(frozen=True)
class ClientConfig:
    """The four keys of `config.json` that every SyftBox client and syft-core loads."""

    data_dir: Path
    email: str
    server_url: str = SERVER_URL
    client_url: str = f"http://localhost:{DEFAULT_PORT}"

    @property
    def port(self) -> int:
        """The port in `client_url`."""
        return int(self.client_url.rstrip("/").rpartition(":")[2])

    def save(self, path: Path) -> None:
        """Write the four keys; keys that a real SyftBox client has added (tokens) stay."""
        values = asdict(self) | {"data_dir": str(self.data_dir)}
        try:
            kept = parse_json_object(read_bytes(path), path)
        except (FileNotFoundError, FedkitError):
            kept = {}
        if kept | values != kept:
            write_bytes(path, (json.dumps(kept | values, indent=4) + "\n").encode())

    @classmethod
    def load(
        cls, path: Path | None = None, absent: str = "run `fedkit client` once: it writes it"
    ) -> ClientConfig:
        """Read `config.json`; without a path, where SYFTBOX_CLIENT_CONFIG_PATH says, else the one of the data dir that this
        is called in, else ~/.syftbox/config.json.

        absent : what a person can do where there is none. Raises FedkitError.
        """
        named = path or os.environ.get(CONFIG_PATH_VARIABLE)
        path = Path(named or _around() or Path.home() / ".syftbox" / "config.json")
        remedy = f"{absent}; or check --config_path, or go into the data dir that has it"
        values = parse_json_object(read_bytes(path, max_bytes=2**20, absent=remedy), path)
        data_dir = _folder(values.get("data_dir"), path, "data_dir")
        try:
            email = check_email(values.get("email"))
        except ValueError as error:
            what, _, remedy = str(error).partition("; ")
            remedy = remedy or "correct it"
            raise FedkitError(what, file=path, field="email", remedy=remedy) from error
        url = values.get("client_url")
        url = f"http://localhost:{url}" if isinstance(url, int) else str(url or cls.client_url)
        port = url.rstrip("/").rpartition(":")[2]
        if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
            raise FedkitError(
                f"{url!r:.200} names no port",
                file=path,
                field="client_url",
                remedy="write one such as http://localhost:8080",
            )
        return cls(data_dir, email, str(values.get("server_url") or SERVER_URL), url)


def _around() -> Path | None:
    """The `config.json` of the data dir that the current folder is, or lies in; None where it is in none."""
    here = Path.cwd()
    found = (folder / "config.json" for folder in (here, *here.parents))
    return next((p for p in found if p.is_file() and (p.parent / "datasites").is_dir()), None)


def _folder(text: object, file: Path, field: str) -> Path:
    """A folder that a person named, `~` expanded. Raises FedkitError."""
    if not isinstance(text, str) or not text:
        what, remedy = f"must be a text, not {text!r:.80}", "write a path in quotes"
        raise FedkitError(what, file=file, field=field, remedy=remedy)
    try:
        if "\0" in text:
            raise ValueError("it has a NUL in it")
        return Path(_as_written(text, file, field)).expanduser()
    except (OSError, ValueError, RuntimeError) as error:  # far too long; a home of nobody
        why = getattr(error, "strerror", None) or error
        raise FedkitError(
            f"{text!r:.200} is no folder ({why})", file=file, field=field, remedy="write its path"
        ) from error


def read_env(path: Path) -> dict[str, str]:
    """EMAIL, DATA_DIR, CONFIG_PATH and PORT from a `.env` file (those that are there, `~` and variables expanded).

    A relative path counts from the file's own folder, wherever it is read from. Raises FedkitError if the file is not
    there, a key has no value, one that can't be read, or small letters, or a path is one of Windows and this is another
    system, or names a variable that is not set.
    """
    path = Path(path)
    if not path.is_file():
        raise FedkitError(
            "is not there",
            file=path,
            remedy="write it with EMAIL, DATA_DIR, CONFIG_PATH and PORT, a line each",
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise FedkitError(
            f"can't be read ({error})", file=path, remedy="save it as UTF-8 text"
        ) from error
    lines = [*parse_stream(io.StringIO(text))]
    for line in lines:
        key, equals, _ = line.original.string.partition("=")
        if line.error and equals and key.strip() in _ENV_KEYS:
            raise FedkitError(
                f"can't be read in line {line.original.line}: {line.original.string.strip()!r:.80}",
                file=path,
                field=key.strip(),
                remedy="close what is in quotes, and write nothing but a comment behind it",
            )
    values = {k.strip(): v for k, v in dotenv_values(stream=io.StringIO(text)).items()}
    for line in lines:
        key, value = str(line.key or "").strip(), str(line.value)
        if key not in _ENV_KEYS and key.upper() in _ENV_KEYS:
            what, remedy = "is written in small letters", f"write {key.upper()}="
            raise FedkitError(what, file=path, field=key, remedy=remedy)
        unset = [name for name in _IN_BRACES.findall(value) if name not in {*os.environ, *values}]
        if key in _ENV_KEYS and unset:
            what = f"names the variable {unset[0]}, which is not set"
            raise FedkitError(what, file=path, field=key, remedy="write the value itself")
    for key in _ENV_KEYS:
        if key in values and not values[key]:
            raise FedkitError(
                "has no value", file=path, field=key, remedy=f"write {key}=… on a line of its own"
            )
    found = {key: str(values[key]) for key in _ENV_KEYS if key in values}
    for key in ("DATA_DIR", "CONFIG_PATH"):
        if key in found:
            found[key] = str(path.absolute().parent / _folder(found[key], path, key))
    return found


_IN_BRACES = re.compile(r"\$\{(\w+)\}")
_SIGNS = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def _as_written(text: str, file: Path, field: str) -> str:
    """A path as it stands in a `.env`: in double quotes a backslash and a letter were read as a sign ("C:\\new")."""
    if Path(text).exists():
        return text
    text = os.path.expandvars("".join(_SIGNS.get(sign, sign) for sign in text))
    if unset := re.search(r"\$\w+|%\w+%", text):
        raise FedkitError(
            f"names the variable {unset[0]}, which is not set",
            file=file,
            field=field,
            remedy="write the path itself, such as ~/fedkit/alice",
        )
    if os.name != "nt" and (PureWindowsPath(text).drive or "\\" in text):
        raise FedkitError(
            f"{text!r:.200} is a path of Windows, and this is another system",
            file=file,
            field=field,
            remedy="write a path of this machine, such as ~/fedkit/alice (in WSL, `wslpath` tells it)",
        )
    return text
