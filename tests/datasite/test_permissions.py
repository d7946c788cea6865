"""Who may do what: both kinds of permission file, against the matrix that fedkit writes and against strangers' files."""

import json
import time
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
        # a permission file is changed by nobody else; the new kind, where it rules itself, is not even asked for
        (f"{app}/request/{NEW}", nothing, nothing),
        (f"{app}/request/{OLD}", {"read"}, {"read"}),
        (f"{app}/running/P/agg_weights/{NEW}", nothing, nothing),
        (f"{app}/running/P/agg_weights/{OLD}", {"read"}, nothing),
    ]
    for path, aggregators, worlds in matrix:
        assert rights(site.datasites, ALICE, path) == everything, path
        assert rights(site.datasites, AGGREGATOR, path) == aggregators, path
        for email in (BOB, EVE, "*", "GLOBAL", ""):
            assert rights(site.datasites, email, path) == worlds, (path, email)
    # the ready signal arrives all the same, at whom the folder is open to
    permissions = Permissions(site.datasites)
    for name in (NEW, OLD):
        assert permissions.reaches(EVE, f"{app}/request/{name}")
        assert permissions.reaches(AGGREGATOR, f"{app}/running/P/agg_weights/{name}")
        assert not permissions.reaches(EVE, f"{app}/running/P/agg_weights/{name}")


def in_order(value: object) -> str:
    """A part of a test's name that is the same in every process: a set has no order."""
    return str(sorted(value) if isinstance(value, set) else value)


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
    """As wcmatch takes them in Python SyftBox and in PySyft; doublestar in Go SyftBox would let them in."""
    put(tmp_path, f"{ALICE}/old/{OLD}", old(("**", BOB, ["read"])))
    put(tmp_path, f"{ALICE}/new/{NEW}", new(("**", {"read": [BOB]})))
    for name, held in (("x", {"read"}), (".x", set()), (".x/y", set()), ("x/y", {"read"})):
        assert rights(tmp_path, BOB, f"{ALICE}/old/{name}") == held, name
        assert rights(tmp_path, BOB, f"{ALICE}/new/{name}") == held, name


# ---------------------------------------------------------------------- as SyftBox's engines judge
READS, WRITES, NONE = {"read"}, {"read", "create", "write"}, set[str]()


def opened(pattern: str, who: str = BOB) -> tuple[str, dict[str, list[str]]]:
    return pattern, {"read": [who]}


@pytest.mark.parametrize(
    ("rules", "path", "held"),
    [
        # people
        ([opened("**", "*@example.org")], "x", READS),
        ([opened("**", "?ob@example.org")], "x", READS),
        ([opened("**", "*@elsewhere.org")], "x", NONE),
        ([opened("**", "USER")], "x", READS),
        ([("**", {"write": ["b*"]})], "x", WRITES),
        ([opened("**", "bob@[e]xample.org")], "x", NONE),  # PySyft: an e-mail with brackets
        ([opened("**", "[b]*@example.org")], "x", READS),
        ([opened("**", "{bob,eve}@*")], "x", NONE),  # PySyft: an e-mail with braces
        # templates
        ([opened("{{.UserEmail}}/*", "USER")], f"{BOB}/x", READS),
        ([opened("{{.UserEmail}}/*", "USER")], f"{EVE}/x", NONE),
        ([opened("{{.UserEmail}}.txt")], f"{BOB}.txt", READS),
        ([opened("**"), ("{{.UserEmail}}/**", {})], f"{BOB}/x", NONE),
        ([opened("**"), opened("{{.UserHash}}/*")], "x", NONE),
        ([opened("**"), opened("{{.Year}}/*")], "x", NONE),
        ([opened("**"), opened("{{ .UserEmail }}/*")], "x", NONE),
        ([opened("**"), opened("{{{.UserEmail}},a}/*")], "x", NONE),
        # alternatives
        ([opened("{a,b}/**")], "a/x", NONE),  # PySyft: a folder of that name
        ([opened("{a,b}/**")], "{a,b}/x", NONE),  # Go: the folders a and b
        ([opened("**"), ("{a,b}/**", {})], "a/x", NONE),
        ([opened("**"), ("{a,b}/**", {})], "{a,b}/x", NONE),
        ([opened("**"), ("{a,b}/**", {})], "c/x", READS),
        ([opened("**"), ("{a,{b,c}}/**", {})], "c/x", NONE),
        ([opened("{a,b}")], "{a,b}", READS),  # no wildcard: a name as it stands, to both
        # which of two rules wins
        ([opened("a/**"), ("**/c/*", {})], "a/c/x", NONE),  # PySyft: the second
        ([("a/**", {}), opened("**/c/*")], "a/c/x", NONE),  # Go: the first
        ([opened("*"), ("*.pt", {})], "x.pt", NONE),  # Go: the second
        ([("*", {}), opened("*.pt")], "x.pt", NONE),  # PySyft: the first
        ([opened("**"), ("**", {})], "x", READS),
        ([("**", {}), opened("**")], "x", NONE),
        # a file that one engine does not load
        ([opened("**"), opened("")], "x", NONE),
        ([opened("**"), ("a", {"read": None})], "x", NONE),
        ([opened("**"), ("a", {"read": BOB})], "x", NONE),
        ([opened("**"), ("a", {"read": [3]})], "x", NONE),
        ([opened("**"), ("a", None)], "x", NONE),
        ([opened("**"), ("a", {"others": 3})], "x", NONE),
        ([opened("**"), ("a", {"others": [BOB]})], "x", READS),
        # names: `x.syft.pub.yaml` is a permission file to the engines, SYFT.PUB.YAML to Windows
        ([("**", {"write": [BOB]})], NEW, NONE),
        ([("**", {"write": [BOB]})], f"x.{NEW}", NONE),
        ([("**", {"write": [BOB]})], OLD, READS),
        ([("**", {"write": [BOB]})], "SYFT.PUB.YAML", READS),
        ([("**", {"write": [BOB]})], f"{NEW}/x", READS),
        ([("**", {"write": [BOB]})], f"{NEW}.txt", WRITES),
        ([("**", {"admin": [BOB]})], f"x.{NEW}", set(RIGHTS)),
        # one folder further
        ([opened("a/**")], "a", NONE),  # Go: also a itself
        ([opened("**/")], "x", NONE),
        ([opened("/x")], "x", NONE),
        ([opened("./x")], "x", NONE),
        ([opened("[!b]")], "a", READS),
        ([opened("\\*")], "*", READS),
        ([opened("\\*")], "a", NONE),
        ([opened("\\*?")], "*a", READS),
    ],
    ids=in_order,
)
def test_syft_pub_yaml_by_both_engines(
    tmp_path: Path, rules: list[Any], path: str, held: set[str]
) -> None:
    put(tmp_path, f"{ALICE}/box/{NEW}", new(*rules))
    assert rights(tmp_path, BOB, f"{ALICE}/box/{path}") == held
    assert rights(tmp_path, ALICE, f"{ALICE}/box/{path}") == set(RIGHTS)


def test_an_access_that_is_not_there_closes_the_file(tmp_path: Path) -> None:
    put(tmp_path, f"{ALICE}/{NEW}", {"rules": [{"pattern": "a"}, *new(opened("**"))["rules"]]})
    assert rights(tmp_path, BOB, f"{ALICE}/x") == NONE
    assert Permissions(tmp_path).broken == []


@pytest.mark.parametrize(
    ("terminal", "held"),
    [
        *((value, NONE) for value in ("true", "yes", "on", '"yes"', '"on"', '"y"')),
        *((value, READS) for value in ("false", "no", '"no"', '"off"', '"n"')),
        *(
            (value, NONE) for value in ("1", "0", "null", '"true"', '"false"', '"YES"', "[]")
        ),  # broken
    ],
)
def test_what_says_that_a_file_is_terminal(tmp_path: Path, terminal: str, held: set[str]) -> None:
    put(tmp_path, f"{ALICE}/{NEW}", f"terminal: {terminal}\nrules: []")
    put(tmp_path, f"{ALICE}/box/{NEW}", new(opened("**")))
    assert rights(tmp_path, BOB, f"{ALICE}/box/x") == held


def test_a_key_that_stands_twice_closes_the_file(tmp_path: Path) -> None:
    twice = f"rules: [{{pattern: '**', access: {{read: [], read: ['{BOB}']}}}}]"
    put(tmp_path, f"{ALICE}/{NEW}", twice)
    assert rights(tmp_path, BOB, f"{ALICE}/x") == NONE
    put(tmp_path, f"{ALICE}/{NEW}", twice.replace("read: [], ", ""))
    assert rights(tmp_path, BOB, f"{ALICE}/x") == READS


def test_a_folders_own_path_is_judged_by_its_own_file(tmp_path: Path) -> None:
    put(tmp_path, f"{ALICE}/{NEW}", new(("**", {"write": [BOB]})))
    put(tmp_path, f"{ALICE}/box/{NEW}", new(opened("**")))
    assert rights(tmp_path, BOB, f"{ALICE}/box") == READS
    put(tmp_path, f"{ALICE}/box/{NEW}", new(opened("*")))
    assert rights(tmp_path, BOB, f"{ALICE}/box") == NONE
    put(tmp_path, f"{ALICE}/box/{NEW}", "[")
    assert rights(tmp_path, BOB, f"{ALICE}/box") == NONE


@pytest.mark.parametrize(
    ("rules", "path", "held"),
    [
        ([{"allow": False}], "x", NONE),
        ([{"allow": "no"}], "x", NONE),
        ([{"allow": True}], "x", READS),
        ([{"allow": True, "type": "disallow"}], "x", NONE),
        ([{"type": "allow"}], "x", READS),
        ([{}, {"allow": False, "path": "x"}], "x", NONE),
        ([{"allow": False, "path": "x"}, {}], "x", READS),
        ([{"permissions": "READ"}], "x", READS),
        ([{"path": "{a,b}/**"}], "a/x", NONE),
        ([{"path": "{a,b}/**"}], "{a,b}/x", READS),
        ([{"path": "*.txt"}], ".txt", READS),
        ([{"path": "{useremail}/*"}], f"{BOB}/x", READS),
        ([{"path": "{useremail}/*"}], f"{EVE}/x", NONE),
        ([{"path": "{useremail}.txt"}], f"{BOB}.txt", NONE),  # answered, but in no list
        # taken out of the list, for all
        ([{}, {"path": "{useremail}/*", "allow": False}], f"{EVE}/x", NONE),
        # what it does not load, whatever stands beside it
        *(([{}, {**rule, "path": "y"}], "x", NONE) for rule in ({"mode": 1}, {"user": "all"})),
        *(
            ([{}, {"permissions": names}], "x", NONE)
            for names in ([2], ["own"], 3, {"read": 1}, None)
        ),
        ([{}, {"allow": None}], "x", NONE),
        ([{}, {"path": "../x"}], "x", NONE),
        ([{}, {"path": "**/{useremail}"}], "x", NONE),
        ([{}, {"path": 3}], "x", NONE),
        ([{}] * 1000, "x", READS),
        ([{}] * 1001, "x", NONE),  # its list counts on a thousand at most
    ],
    ids=lambda value: in_order(value)[:60],
)
def test_syftperm_yaml_by_syftbox(
    tmp_path: Path, rules: list[dict[str, Any]], path: str, held: set[str]
) -> None:
    put(tmp_path, f"{ALICE}/{OLD}", old(("box/x", "*", ["read"])))
    start = {"path": "**", "user": "*", "permissions": ["read"]}
    text = json.dumps(
        [start | rule for rule in rules], separators=(",", ":")
    )  # yaml would use aliases
    put(tmp_path, f"{ALICE}/box/{OLD}", text)
    assert rights(tmp_path, BOB, f"{ALICE}/box/{path}") == held


def test_a_nearer_file_that_cannot_be_loaded_inherits_nothing(tmp_path: Path) -> None:
    for name, rules in ((NEW, new(opened("**"))), (OLD, old(("**", BOB, ["read"])))):
        for broken in ("[", "3", "- {path: x}", '{rules: [{pattern: ""}]}'):
            put(tmp_path, f"{ALICE}/{name}", rules)
            assert rights(tmp_path, BOB, f"{ALICE}/box/x") == READS
            put(tmp_path, f"{ALICE}/box/{name}", broken)
            put(tmp_path, f"{ALICE}/box/in/{name}", rules)
            assert rights(tmp_path, BOB, f"{ALICE}/box/x") == NONE, broken
            assert rights(tmp_path, BOB, f"{ALICE}/box/in/x") == NONE, broken
            assert rights(tmp_path, ALICE, f"{ALICE}/box/in/x") == set(RIGHTS)
            for folder in ("box/in", "box", "."):
                (tmp_path / ALICE / folder / name).unlink()


# --------------------------------------------------------------------------- what costs how long
HOSTILE = {
    "stars": "*a" * 400,
    "folders": "**/" * 300 + "x",
    "folders and stars": "**/*a*/" * 140 + "x",
    "alternatives": "{a,b,aa}" * 120 + "*",
    "nested alternatives": "{a," * 8 + "a" + "}" * 8 + "?" * 900,
    "open braces": "*" + "{" * 1000,
    "deep braces": "*" + "{a," * 200 + "a" + "}" * 200,
    "brackets": "[!a-c]*[" * 120,
    "one sign at a time": "?*" * 500,
}


@pytest.mark.parametrize("pattern", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("name", [NEW, OLD])
def test_no_pattern_takes_long(tmp_path: Path, name: str, pattern: str) -> None:
    """A file full of them, and paths made for them: in the processor's time, as the machine may be busy."""
    patterns = [pattern[:1000] + f"{n}" for n in range(2**16 // (len(pattern[:1000]) + 120))]
    rules: Any = new(*((pattern, {"read": [BOB]}) for pattern in patterns))
    if name == OLD:
        rules = old(*((pattern, BOB, ["read"]) for pattern in patterns))
    put(tmp_path, f"{ALICE}/{name}", json.dumps(rules))
    permissions, start = Permissions(tmp_path), time.process_time()
    for path in ("a" * 250, "/".join("a" * 120), "/".join(["aa" * 30] * 30)):
        permissions.may(BOB, "read", f"{ALICE}/{path}")
    assert time.process_time() - start < 30


def test_no_list_of_people_takes_long(tmp_path: Path) -> None:
    people = ["*a" * 500 + str(n) for n in range(60)]
    put(tmp_path, f"{ALICE}/{NEW}", new(("**", {"read": people})))
    permissions, start = Permissions(tmp_path), time.process_time()
    assert not permissions.may("a" * 116 + "@example.org", "read", f"{ALICE}/x")
    assert time.process_time() - start < 30


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


# ------------------------------------------------------------------------------ asked for many at once
@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ({NEW: new(("**", {"read": [BOB]}))}, {ALICE, BOB}),
        ({NEW: new(("**", {"read": ["USER"]}))}, {ALICE, BOB, EVE, AGGREGATOR}),
        ({NEW: new(("**", {"read": ["b*"]}))}, {ALICE, BOB}),
        ({NEW: new(("{{.UserEmail}}/*", {"read": ["*"]}))}, {ALICE}),
        ({NEW: new((f"{BOB}/*", {"read": ["*"]}))}, {ALICE}),
        ({OLD: old(("**", BOB, ["read"]))}, {ALICE, BOB}),
        ({OLD: old(("**", "*", ["read"]))}, {ALICE, BOB, EVE, AGGREGATOR}),
        ({OLDEST: {"read": [BOB]}}, {ALICE, BOB}),
        ({OLDEST: {"read": ["GLOBAL"]}}, {ALICE, BOB, EVE, AGGREGATOR}),
        ({OLDEST: ["GLOBAL"]}, {ALICE}),
        ({NEW: "rules: {"}, {ALICE}),
        ({}, {ALICE}),
    ],
)
def test_readers_by_each_kind_of_file(
    tmp_path: Path, rules: dict[str, Any], found: set[str]
) -> None:
    for name, content in rules.items():
        put(tmp_path, f"{ALICE}/{name}", content)
    people = {ALICE, BOB, EVE, AGGREGATOR}
    assert Permissions(tmp_path).readers(people, f"{ALICE}/x.txt") == found


def test_what_a_datasite_of_a_network_opens(tmp_path: Path) -> None:
    """It knows its aggregator: nobody else may ask, and what is public is said at the top, in no file that travels."""
    site = Datasite.create(tmp_path, ALICE, aggregator=AGGREGATOR)
    app = f"{ALICE}/app_data/fl_client"
    writing = {"read", "create", "write"}
    assert rights(site.datasites, EVE, f"{ALICE}/public/fl/x.json") == {"read"}
    assert rights(site.datasites, EVE, f"{ALICE}/notes.txt") == set()
    assert rights(site.datasites, AGGREGATOR, f"{ALICE}/notes.txt") == set()
    assert rights(site.datasites, AGGREGATOR, f"{app}/request/P/model.py") == writing
    assert rights(site.datasites, EVE, f"{app}/request/P/model.py") == set()
    assert not has_permission_file(site.public)
    permissions = Permissions(site.datasites)
    for name in (NEW, OLD):
        assert not permissions.reaches(EVE, f"{ALICE}/{name}")
        assert permissions.reaches(AGGREGATOR, f"{app}/request/{name}")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for again in (None, AGGREGATOR, BOB):  # what is there stays as it is
        Datasite.create(tmp_path, ALICE, aggregator=again)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_datasite_that_was_there_keeps_its_rules_in_a_network(tmp_path: Path) -> None:
    site = Datasite.create(tmp_path, ALICE)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    Datasite.create(tmp_path, ALICE, aggregator=AGGREGATOR)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert has_permission_file(site.public)
