"""Names that become paths: whatever passes the door stays in its folder, on every operating system."""

import ntpath
import warnings
from collections.abc import Callable
from pathlib import PurePath, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedkit.base.names import check_email, check_file_name, check_name, names_permission_file
from fedkit.datasite.tree import travels

# Characters that mean something to some file system, shell or protocol, and a few that mean nothing.
PIECES = [
    *'ab1Z._-+~ @%:/\\*?"<>|\0\n\t\x7fé',
    "..",
    "con",
    "NUL",
    "com1",
    "C:",
    ".pt",
    ".py",
    "@x.org",
]
NASTY = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)

RESERVED = ["con", "CON", "prn", "aux.pt", "NUL.py", "com1", "LPT9.x", "COM0", "CONIN$", "nul .pt"]
ESCAPES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "/etc",
    "C:",
    "C:x",
    "\\\\host\\share",
    "x\0y",
    "x\ny",
    "x:stream",
    " x",
    "x ",
    "x.",
    "~",
    "-rf",
    ".hidden",
    "a..b",
    "x" * 300,
    "ⅷ",
    "café",
    "a*",
    "\ud800",
]


def reserved(name: str) -> bool:
    """What Windows itself says about a name."""
    if hasattr(ntpath, "isreserved"):
        return bool(ntpath.isreserved(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return PureWindowsPath(name).is_reserved()


def stays(root: PurePath, name: str) -> bool:
    """Is `root / name` a plain child of `root`?"""
    return (root / name).parent == root and (root / name).name == name


@pytest.mark.parametrize("name", ["MNIST_FL", "a", "x" * 64, "model v2", "3rounds", "a+b-c_d.e"])
def test_plain_names_pass(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", [*ESCAPES, *RESERVED])
def test_names_that_some_system_reads_otherwise_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="; "):  # what is wrong; what to do
        check_name(name)


@pytest.mark.parametrize("value", [None, 3, True, ["a"], {"a": 1}, b"a"])
def test_a_name_is_a_text(value: object) -> None:
    for check in (check_name, check_email):
        with pytest.raises(ValueError, match="quotes"):
            check(value)


@pytest.mark.parametrize("name", ["x.tmp", "model.syftrejected.py", "X.TMP"])
def test_a_name_that_would_never_travel_is_refused(name: str) -> None:
    """The sync, and SyftBox, leave such files where they are: a project of that name would wait for ever."""
    with pytest.raises(ValueError, match="; "):
        check_name(name)


@pytest.mark.parametrize(
    "name", ["model.pt", "model", "model.py.txt", ".py", "a/model.py", "con.py"]
)
def test_a_model_file_ends_in_py(name: str) -> None:
    with pytest.raises(ValueError, match="; "):
        check_file_name(name, (".py",))


@pytest.mark.parametrize(
    "email",
    [
        "alice@example.org",
        "a.b+c_d%e-f@sub.example.com",
        "1@example.org",
        "_a@x.org",
        "o'brien@x.org",
    ],
)
def test_ordinary_emails_pass(email: str) -> None:
    assert check_email(email) == email


@pytest.mark.parametrize(
    "email",
    [
        *ESCAPES,
        "alice",
        "@example.org",
        "alice@",
        "alice@example",
        "alice@@example.org",
        "a b@example.org",
        '"a/b"@example.org',
        "../a@example.org",
        "a@../example.org",
        "a@example.org.",
        "a@example..org",
        "a@example.org/..",
        "alice@host.test",
        "alice@host.local",
        "alice@localhost",
        "alice@[127.0.0.1]",
        "alice@-example.org",
        "aliçe@example.org",
        f"{'a' * 60}@{'b' * 60}.{'c' * 60}.org",
        "nul.alice@example.org",
        "CON.a@example.org",
        "-a@example.org",
        ".a@example.org",
        "*",
        "GLOBAL",
    ],
)
def test_emails_that_cannot_name_a_folder_are_refused(email: str) -> None:
    with pytest.raises(ValueError, match="; "):
        check_email(email)


def test_what_syftbox_takes_and_a_folder_can_not_bear_is_said() -> None:
    with pytest.raises(
        ValueError, match="because of '\\*', though SyftBox may take it; use one such as"
    ):
        check_email("a*b@example.org")


@given(NASTY)
@example("con@example.org")
@example("a.con@x.org")
def test_what_passes_stays_in_its_folder_on_every_system(name: str) -> None:
    checks: list[Callable[[str], str]] = [
        check_name,
        check_email,
        lambda value: check_file_name(value, (".pt", ".pth")),
    ]
    for check in checks:
        try:
            check(name)
        except ValueError:
            continue
        assert stays(PurePosixPath("/data/datasites"), name)
        assert stays(PureWindowsPath("C:/data/datasites"), name)
        assert not reserved(name)
        assert travels(name)
        assert name.isascii()
        assert name.isprintable()


# ------------------------------------------------------------------------------- permission files
@pytest.mark.parametrize("file", ["syft.pub.yaml", "syftperm.yaml", "_.syftperm"])
def test_the_names_that_mean_a_permission_file_somewhere(file: str) -> None:
    for name in (
        file,
        file.upper(),
        f"{file}.",
        f"{file} . ",
        f"{file}::$DATA",
        f"{file}:x",
        f"x{file}",
    ):
        assert names_permission_file(name), name
    for name in (f"deep\\{file}", f"{file}\\x", file.replace("s", "\N{LATIN SMALL LETTER LONG S}")):
        assert names_permission_file(name), name
    assert names_permission_file(f"{file[:3]}\N{ZERO WIDTH JOINER}{file[3:]}")
    for name in (f"{file}.bak", f"{file}_", f"{file[:-1]}", f".{file}.tmp"):
        assert not names_permission_file(name), name


@pytest.mark.parametrize(
    ("name", "means"),
    [
        *((name, True) for name in ("SYFTPU~1.YAM", "syftpe~12.yam", "SY1A2B~1.YAM", "_~1.SYF")),
        *((name, False) for name in ("model~1.yam", "syft~1.txt", "syft.yam", "", ".")),
    ],
)
def test_short_names_of_windows(name: str, means: bool) -> None:
    assert names_permission_file(name) is means
