"""Who may do what: both kinds of permission file, against the matrix that fedkit writes and against strangers' files."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedkit.datasite.datasite import Datasite
from fedkit.datasite.permissions import Permissions, Right, has_permission_file, write_permissions
from fedkit.protocol.approval import open_mailbox
from tests.support.helpers import AGGREGATOR, ALICE, BOB, EVE, small

RIGHTS: list[Right] = ["read", "create", "write", "admin"]
NEW, OLD, OLDEST = "syft.pub.yaml", "syftperm.yaml", "_.syftperm"


def rights(datasites: Path, email: str, path: str) -> set[str]:
    permissions = Permissions(datasites)
    return {right for right in RIGHTS if permissions.may(email, right, path)}


def put(datasites: Path, path: str, content: Any) -> None:
    file = datasites / path
    file.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    file.write_text(text, encoding="utf-8")


def new(*rules: tuple[str, dict[str, list[str]]], **more: Any) -> dict[str, Any]:
    return {**more, "rules": [{"pattern": pattern, "access": access} for pattern, access in rules]}


def old(*rules: tuple[str, str, list[str]]) -> list[dict[str, Any]]:
    return [{"path": path, "user": user, "permissions": names} for path, user, names in rules]


# ------------------------------------------------------------------------------- what fedkit writes
def test_the_matrix_of_a_datasite_under_way(tmp_path: Path) -> None:
    """Every folder of a project, for the owner, the aggregator, another participant and the world."""
    site = Datasite.create(tmp_path, ALICE)
    config = small()
    open_mailbox(site, site.client().project("P"), config)
    nothing: set[str] = set()
    everything = set(RIGHTS)
    app = f"{ALICE}/app_data/fl_client"
    matrix = [
        # path, the aggregator's rights, everybody else's
        (f"{ALICE}/notes.txt", nothing, nothing),
        (f"{ALICE}/public/x.json", {"read"}, {"read"}),
        (f"{app}/request/P/model.py", {"read", "create", "write"}, {"read", "create", "write"}),
        (f"{app}/running/P/agg_weights/agg_model_round_0.pt", {"read", "create", "write"}, nothing),
        (f"{app}/running/P/state/state.json", {"read"}, nothing),
        (f"{app}/running/P/round_weights/trained_model_round_1.pt", nothing, nothing),
        (f"{app}/running/P/logs/training_logs_round_1.txt", nothing, nothing),
        (f"{app}/running/P/model.py", nothing, nothing),
        (f"{app}/done/P/model.py", nothing, nothing),
        # a permission file may be read where its folder may, and changed by nobody else
        (f"{app}/request/{NEW}", {"read"}, {"read"}),
        (f"{app}/request/{OLD}", {"read"}, {"read"}),
        (f"{app}/running/P/agg_weights/{NEW}", {"read"}, nothing),
    ]
    for path, aggregators, worlds in matrix:
        assert rights(site.datasites, ALICE, path) == everything, path
        assert rights(site.datasites, AGGREGATOR, path) == aggregators, path
        for email in (BOB, EVE, "*", "GLOBAL", ""):
            assert rights(site.datasites, email, path) == worlds, (path, email)


@pytest.mark.parametrize("kept", [(NEW,), (OLD,), (NEW, OLD)])
def test_either_file_alone_says_the_same(tmp_path: Path, kept: tuple[str, ...]) -> None:
    """A Go client leaves the one unread, a Python client the other."""
    write_permissions(tmp_path / ALICE / "box", ALICE, read=[BOB], write=[AGGREGATOR])
    for name in {NEW, OLD} - set(kept):
        (tmp_path / ALICE / "box" / name).unlink()
    path = f"{ALICE}/box/deep/x"
    assert rights(tmp_path, BOB, path) == {"read"}
    assert rights(tmp_path, AGGREGATOR, path) == {"read", "create", "write"}
    assert rights(tmp_path, EVE, path) == set()
    assert rights(tmp_path, ALICE, path) == set(RIGHTS)


def test_who_writes_also_reads_and_is_named_once(tmp_path: Path) -> None:
    write_permissions(tmp_path / ALICE, ALICE, read=[BOB, EVE], write=[BOB])
    file = yaml.safe_load((tmp_path / ALICE / NEW).read_text(encoding="utf-8"))
    assert file["rules"][0]["access"] == {"admin": [ALICE], "write": [BOB], "read": [EVE]}
    assert rights(tmp_path, BOB, f"{ALICE}/x") == {"read", "create", "write"}


def test_a_datasite_keeps_the_rules_that_its_owner_wrote(tmp_path: Path) -> None:
    """As a datasite that SyftBox made, with a rule of the owner's own; fedkit completes it."""
    rules = yaml.safe_dump(old(("**", ALICE, ["admin"]), ("shared/*", BOB, ["read"])))
    put(tmp_path / "datasites", f"{ALICE}/{OLD}", rules)
    site = Datasite.create(tmp_path, ALICE)
    assert (site.root / OLD).read_text(encoding="utf-8") == rules
    assert yaml.safe_load((site.root / NEW).read_bytes())["rules"][0]["access"]["read"] == []


def test_the_ready_signal_is_a_file_never_a_folder(tmp_path: Path) -> None:
    assert not has_permission_file(tmp_path / "nowhere")
    (tmp_path / "box").mkdir()
    assert not has_permission_file(tmp_path / "box")
    (tmp_path / "box" / NEW).mkdir()
    assert not has_permission_file(tmp_path / "box")
    for name in (NEW, OLD, OLDEST):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("", encoding="utf-8")
        assert has_permission_file(tmp_path / name)


# -------------------------------------------------------------------------- Go SyftBox's rules (new)
def test_the_nearest_file_upwards_decides(tmp_path: Path) -> None:
    put(tmp_path, f"{ALICE}/{NEW}", new(("**", {"read": ["*"]})))
    put(tmp_path, f"{ALICE}/secret/{NEW}", new(("**", {"read": [BOB]})))
    assert rights(tmp_path, EVE, f"{ALICE}/open/x") == {"read"}
    assert rights(tmp_path, EVE, f"{ALICE}/secret/x") == set()
    assert rights(tmp_path, BOB, f"{ALICE}/secret/deep/x") == {"read"}


def test_nothing_below_a_terminal_file_opens_more(tmp_path: Path) -> None:
    put(tmp_path, f"{ALICE}/{NEW}", new(("**", {"read": [BOB]}), terminal=True))
    put(tmp_path, f"{ALICE}/open/{NEW}", new(("**", {"read": ["*"]})))
    assert rights(tmp_path, EVE, f"{ALICE}/open/x") == set()
    assert rights(tmp_path, BOB, f"{ALICE}/open/x") == {"read"}


def test_the_most_specific_pattern_decides(tmp_path: Path) -> None:
    rules = [
        ("**", {"read": ["*"]}),
        ("private/*.txt", {"read": [BOB]}),
        ("*.md", {"write": [EVE]}),
    ]
    for order in (rules, rules[::-1]):
        put(tmp_path, f"{ALICE}/{NEW}", new(*order))
        assert rights(tmp_path, EVE, f"{ALICE}/private/x.txt") == set()
        assert rights(tmp_path, BOB, f"{ALICE}/private/x.txt") == {"read"}
        assert rights(tmp_path, EVE, f"{ALICE}/x.md") == {"read", "create", "write"}
        assert rights(tmp_path, BOB, f"{ALICE}/x.md") == set()
        assert rights(tmp_path, EVE, f"{ALICE}/deep/x.md") == {"read"}


def test_what_no_pattern_matches_is_closed(tmp_path: Path) -> None:
    put(tmp_path, f"{ALICE}/{NEW}", new(("*.txt", {"read": ["*"]})))
    assert rights(tmp_path, BOB, f"{ALICE}/x.txt") == {"read"}
    assert rights(tmp_path, BOB, f"{ALICE}/x.md") == set()


# --------------------------------------------------------------------- Python SyftBox's rules (old)
def test_old_rules_add_up_and_later_ones_win(tmp_path: Path) -> None:
    put(tmp_path, f"{ALICE}/{OLD}", old(("**", BOB, ["read"])))
    put(tmp_path, f"{ALICE}/box/{OLD}", old(("**", BOB, ["write"]), ("**", EVE, ["write"])))
    assert rights(tmp_path, BOB, f"{ALICE}/box/x") == {"read", "write"}  # a new file needs create
    assert rights(tmp_path, EVE, f"{ALICE}/box/x") == set()  # write needs read too
    put(
        tmp_path,
        f"{ALICE}/box/{OLD}",
        [*old(("**", "*", ["read"])), {**old(("x", BOB, ["read"]))[0], "type": "disallow"}],
    )
    assert rights(tmp_path, BOB, f"{ALICE}/box/x") == set()
    assert rights(tmp_path, BOB, f"{ALICE}/box/y") == {"read"}
    assert rights(tmp_path, EVE, f"{ALICE}/box/x") == {"read"}


def test_the_own_folder_of_each_user(tmp_path: Path) -> None:
    put(tmp_path, f"{ALICE}/{OLD}", old(("{useremail}/*", "*", ["read", "create", "write"])))
    assert rights(tmp_path, BOB, f"{ALICE}/{BOB}/x") == {"read", "create", "write"}
    assert rights(tmp_path, EVE, f"{ALICE}/{BOB}/x") == set()


def test_where_both_lie_both_must_allow(tmp_path: Path) -> None:
    put(tmp_path, f"{ALICE}/{NEW}", new(("**", {"write": [BOB], "read": [EVE]})))
    put(tmp_path, f"{ALICE}/{OLD}", old(("**", BOB, ["read"])))
    assert rights(tmp_path, BOB, f"{ALICE}/x") == {"read"}
    assert rights(tmp_path, EVE, f"{ALICE}/x") == set()


# ------------------------------------------------------------------------------- nothing by mistake
@pytest.mark.parametrize("content", [None, *("", "rules:", "[", "{}", "- 1", "null")])
def test_without_a_readable_rule_all_is_closed(tmp_path: Path, content: str | None) -> None:
    put(tmp_path, f"{ALICE}/{NEW}", new(("**", {"read": ["*"]})))
    (tmp_path / ALICE / "box").mkdir()
    if content is None:
        (tmp_path / ALICE / NEW).unlink()
    else:
        for name in (NEW, OLD):
            put(tmp_path, f"{ALICE}/box/{name}", content)
    assert rights(tmp_path, BOB, f"{ALICE}/box/x") == set()
    assert rights(tmp_path, ALICE, f"{ALICE}/box/x") == set(RIGHTS)


@pytest.mark.parametrize(
    "path",
    [
        "",
        ALICE,
        "x",
        f"/{ALICE}/public/x",
        f"{ALICE}//x",
        f"{ALICE}/public/../secret",
        f"{ALICE}/./public/x",
        f"../{ALICE}/public/x",
        f"{ALICE}/public/",
    ],
)
def test_paths_that_are_none_are_closed_to_all(tmp_path: Path, path: str) -> None:
    Datasite.create(tmp_path, ALICE)
    for email in (ALICE, BOB):
        assert rights(tmp_path / "datasites", email, path) == set()


def test_the_name_of_a_permission_file_in_other_letters_is_protected_too(tmp_path: Path) -> None:
    """Where case does not count, Syft.Pub.yaml is the permission file."""
    write_permissions(tmp_path / ALICE / "box", ALICE, write=[BOB])
    for name in ("Syft.Pub.yaml", "SYFTPERM.YAML"):
        assert rights(tmp_path, BOB, f"{ALICE}/box/{name}") == {"read"}


def test_another_persons_datasite_is_not_ones_own(tmp_path: Path) -> None:
    Datasite.create(tmp_path, ALICE)
    assert rights(tmp_path / "datasites", BOB, f"{ALICE}/x") == set()
    assert rights(tmp_path / "datasites", ALICE, f"{BOB}/x") == set()
    assert rights(tmp_path / "datasites", ALICE.upper(), f"{ALICE}/x") == set()


def test_a_linked_permission_file_opens_nothing(tmp_path: Path) -> None:
    put(tmp_path, f"elsewhere/{NEW}", new(("**", {"read": ["*"]})))
    (tmp_path / ALICE).mkdir()
    (tmp_path / ALICE / NEW).symlink_to(tmp_path / "elsewhere" / NEW)
    (tmp_path / BOB).symlink_to(tmp_path / "elsewhere")
    assert rights(tmp_path, EVE, f"{ALICE}/x") == set()
    assert rights(tmp_path, EVE, f"{BOB}/x") == set()


STRANGE: list[Any] = [
    {"rules": [None, 3, "x", [], {}, {"pattern": None}, {"pattern": "**", "access": [BOB]}]},
    {"rules": {"pattern": "**", "access": {"read": ["*"]}}},
    {"rules": [{"pattern": "**", "access": {"read": "*"}}]},
    {"rules": [{"pattern": "[", "access": {"read": ["*"]}}]},
    {"rules": [{"pattern": "*" * 500, "access": {"read": [{"a": 1}, None]}}]},
    [{"path": 3, "user": None, "permissions": 4}, {"path": "**", "user": [BOB]}],
    [{"path": "**", "user": BOB, "permissions": {"read": True}}],
    "a: 2024-99-99",
    "a: !!python/object/apply:os.system ['true']",
    "&a [*a]",
    "? [1, 2]\n: 3",
    "\x00",
    "- " * 2000,
]


@pytest.mark.parametrize("content", STRANGE, ids=lambda value: repr(value)[:40])
@pytest.mark.parametrize("name", [NEW, OLD])
def test_strange_files_open_nothing_and_raise_nothing(
    tmp_path: Path, name: str, content: Any
) -> None:
    put(tmp_path, f"{ALICE}/{name}", content)
    assert rights(tmp_path, BOB, f"{ALICE}/deep/x.txt") == set()


YAML = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(max_size=5)
    | st.sampled_from([BOB, "*"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["rules", "pattern", "access", "read", "write", "admin", "path", "user"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(YAML, st.sampled_from([NEW, OLD]))
def test_no_content_raises_or_closes_the_owner_out(
    tmp_path_factory: pytest.TempPathFactory, content: Any, name: str
) -> None:
    datasites = tmp_path_factory.getbasetemp() / "any"
    for other in (NEW, OLD):
        (datasites / ALICE / other).unlink(missing_ok=True)
    put(datasites, f"{ALICE}/{name}", json.dumps(content))  # JSON is YAML
    held = rights(datasites, BOB, f"{ALICE}/x")
    assert held <= set(RIGHTS)
    assert not held & {"create", "write"} or "read" in held
    assert rights(datasites, ALICE, f"{ALICE}/x") == set(RIGHTS)


# ------------------------------------------------------------------ the tutorial's apps (the oldest)
def test_the_oldest_file_decides_where_no_other_lies_beside_it(tmp_path: Path) -> None:
    everybody = {"admin": [ALICE], "read": [ALICE, "GLOBAL"], "write": [ALICE, BOB]}
    put(tmp_path, f"{ALICE}/box/{OLDEST}", json.dumps(everybody))
    assert rights(tmp_path, EVE, f"{ALICE}/box/deep/x") == {"read"}
    assert rights(tmp_path, BOB, f"{ALICE}/box/deep/x") == {"read", "create", "write"}
    assert rights(tmp_path, BOB, f"{ALICE}/box/{OLDEST}") == {"read"}
    assert rights(tmp_path, BOB, f"{ALICE}/x") == set()
    for kind in (NEW, OLD):
        put(tmp_path, f"{ALICE}/box/deep/{kind}", [])
        assert rights(tmp_path, BOB, f"{ALICE}/box/deep/x") == set()
        (tmp_path / ALICE / "box" / "deep" / kind).unlink()
    for broken in ("", "[]", "{", '{"read": "GLOBAL"}', '{"read": null}'):
        put(tmp_path, f"{ALICE}/box/{OLDEST}", broken)
        assert rights(tmp_path, EVE, f"{ALICE}/box/x") == set(), broken


def test_stars_and_hidden_files(tmp_path: Path) -> None:
    """As wcmatch takes them in Python SyftBox, and doublestar in Go SyftBox."""
    put(tmp_path, f"{ALICE}/old/{OLD}", old(("**", BOB, ["read"])))
    put(tmp_path, f"{ALICE}/new/{NEW}", new(("**", {"read": [BOB]})))
    for name, by_old in (("x", {"read"}), (".x", set()), (".x/y", set()), ("x/y", {"read"})):
        assert rights(tmp_path, BOB, f"{ALICE}/old/{name}") == by_old, name
        assert rights(tmp_path, BOB, f"{ALICE}/new/{name}") == {"read"}, name


# ------------------------------------------------------------------------------- a stranger's YAML
BROKEN = {
    "a tag": b"- {path: x, user: !!bool x}",
    "a tag of Python's": b"- !!python/object/apply:os.system [ls]",
    "a tag of one's own": b"- !mine {path: '**', user: '*', permissions: [read]}",
    "a tag on a text": b"rules: [{pattern: !!str '**', access: {read: ['*']}}]",
    "an alias": b"- &a {path: '**', user: '*', permissions: [read]}\n- *a",
    "a date that is none": b"- {path: 2026-13-45, user: '*', permissions: [read]}",
    "a key that is a list": b"? [a]\n: b",
    "brackets without end": b"[" * 5_000,
    "levels without end": b"{a: " * 200 + b"1" + b"}" * 200,
    "no text": b"\xff\xfe\x00",
    "not closed": b"rules: [{pattern: '**'",
}


@pytest.mark.parametrize("kind", sorted(BROKEN))
@pytest.mark.parametrize("name", ["syft.pub.yaml", "syftperm.yaml"])
def test_a_broken_permission_file_allows_nothing_below_and_stops_nobody(
    kind: str, name: str, tmp_path: Path
) -> None:
    folder = tmp_path / "alice@example.org" / "open"
    write_permissions(folder, "alice@example.org", read=["*"])
    write_permissions(tmp_path / "bob@example.org", "bob@example.org", read=["*"])
    inner = folder / "inner"
    inner.mkdir()
    (inner / name).write_bytes(BROKEN[kind])
    rights = Permissions(tmp_path)
    assert not rights.may("eve@example.org", "read", "alice@example.org/open/inner/x.txt")
    assert rights.may("alice@example.org", "write", "alice@example.org/open/inner/x.txt")
    assert rights.may("eve@example.org", "read", "alice@example.org/open/x.txt")
    assert rights.may("eve@example.org", "read", "bob@example.org/x.txt")


@pytest.mark.parametrize("pattern", ["[", "[!", "{", "{a", "(" * 300, "{" * 40, "[[:nope:]]", "\\"])
def test_a_pattern_that_no_compiler_takes_fits_nothing(pattern: str, tmp_path: Path) -> None:
    folder = tmp_path / "alice@example.org"
    folder.mkdir()
    new = {"rules": [{"pattern": pattern, "access": {"read": ["*"]}}]}
    old = [{"path": pattern, "user": "*", "permissions": ["read"]}]
    for name, rules in (("syft.pub.yaml", new), ("syftperm.yaml", old)):
        (folder / name).write_text(yaml.safe_dump(rules), encoding="utf-8")
        assert not Permissions(tmp_path).may("eve@example.org", "read", "alice@example.org/x.txt")
        (folder / name).unlink()
