"""SyftBox's own engines of permissions, and folders full of random rules to ask them about.

PySyft's engine is a package that the tests import. SyftBox 0.4.0 needs older packages than ours, so it is asked in an
environment of its own, made on first use under `runs/`. The Go server is not run here: what its documentation says of
patterns is what wcmatch calls GLOBSTAR, DOTGLOB and BRACE, and its order of rules is a formula.
"""

from __future__ import annotations

import json
import random
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from syft_permissions import AccessLevel, ACLRequest, ACLService, RuleSet, User
from wcmatch import glob

from fedkit.datasite.rules import Right
from tests.support import ROOT
from tests.support.helpers import ALICE, BOB, EVE
from tests.support.syftbox_network import syftbox_python

CAROL = "carol@elsewhere.org"
USERS = [BOB, EVE, CAROL]
RIGHTS: list[Right] = ["read", "create", "write", "admin"]
NEW, OLD = "syft.pub.yaml", "syftperm.yaml"

PROTECTED = [NEW, f"my.{NEW}", OLD, f"x{OLD}", "SYFT.PUB.YAML", "syftperm.yaml. ", f"{OLD}:x"]
"""Names that need admin to create or write."""

_NAMES = ["a", "b", "c", "x.txt", "y.pt", ".h", ".x.txt", BOB, EVE, f"{BOB}.txt"]
_FOLDERS = ["", "a/", "b/", "a/b/", ".h/", f"{BOB}/", "a/c/b/"]


@dataclass
class Case:
    """Permission files of a datasite, folder -> text, and paths to ask for. refused : folders whose file no engine, or
    only one of two, loads."""

    files: dict[str, str]
    paths: list[str]
    refused: set[str] = field(default_factory=set)

    def write(self, datasite: Path, name: str) -> None:
        for folder, text in self.files.items():
            (datasite / folder).mkdir(parents=True, exist_ok=True)
            (datasite / folder / name).write_text(text, encoding="utf-8")

    def is_closed(self, path: str) -> bool:
        return any(f"{path}/".startswith(folder) for folder in self.refused)


def _paths(rng: random.Random, folders: list[str], count: int) -> list[str]:
    paths = set[str]()
    while len(paths) < count:
        names = _NAMES if rng.random() < 0.85 else PROTECTED
        path = rng.choice([*folders, *folders, *_FOLDERS]) + rng.choice(names)
        if rng.random() < 0.3:
            path = f"{path}/{rng.choice(_NAMES)}"
        paths.add(path)
    return sorted(paths)


# --------------------------------------------------------------------------------------- syft.pub.yaml
_PATTERNS = [
    *(
        "**",
        "**/*",
        "*",
        "*.txt",
        "*.pt",
        "a/**",
        "a/*",
        "b/**",
        "**/c/*",
        "**/*.txt",
        "a/**/*.txt",
    ),
    *(
        "?.txt",
        "a/b/**",
        "*/**",
        "*/*",
        "x.txt",
        "a",
        "a/x.txt",
        ".h/**",
        ".*",
        "**/.h/*",
        "/a",
        "a/",
    ),
    *(
        "{a,b}/**",
        "{a,b}",
        "a/{b,c}/*",
        "*.{txt,pt}",
        "{a,b/{b,c}}/?",
        "[ab]/**",
        "[!a]/*",
        "**/[x-y].*",
    ),
    *(
        "{{.UserEmail}}/**",
        "{{.UserEmail}}/*",
        "**/{{.UserEmail}}/?",
        "{{.UserEmail}}",
        "a*/{{.UserEmail}}",
    ),
]
_PEOPLE = [
    *([], [BOB], [BOB], [EVE], ["*"], ["*"], ["USER"], ["*@example.org"], ["?ob@example.org"]),
    *([CAROL, BOB], ["{bob,eve}*@example.org"], ["bob@[e]xample.org"], ["[be]*"], ["c*", EVE]),
]
REFUSED_BY_PYSYFT = [
    '{rules: [{pattern: "**"}]}',
    '{rules: [{pattern: "**", access: {read: null, write: ["*"]}}]}',
    '{rules: [{pattern: "**", access: {read: [3], write: ["*"]}}]}',
    '{rules: [{pattern: "**", access: {read: "*", write: ["*"]}}]}',
    '{rules: [{pattern: 3, access: {}}, {pattern: "**", access: {read: ["*"]}}]}',
    '{rules: [{pattern: "{{.UserHash}}/*", access: {}}, {pattern: "**", access: {read: ["*"]}}]}',
    '{rules: [{pattern: "{{.Year}}", access: {}}, {pattern: "**", access: {read: ["*"]}}]}',
    "{rules: null}",
    "rules: [",
    "[3]",
]
REFUSED_BY_GO = [
    '{rules: [{pattern: "", access: {read: ["*"]}}]}',
    '{rules: [{pattern: "**", access: {read: ["*"]}}], terminal: 1}',
    '{rules: [{pattern: "**", access: {read: ["*"]}}], terminal: "true"}',
    '{rules: [{pattern: "**", access: {read: ["*"]}, access: {write: ["*"]}}]}',
    '{rules: [{pattern: "**", access: {read: ["*"], others: 3}}]}',
]


def new_case(rng: random.Random) -> Case:
    """A datasite with one to three `syft.pub.yaml`."""
    case = Case({}, [])
    for folder in rng.sample(_FOLDERS, rng.randint(1, 3)):
        rules = []
        for pattern in rng.choices(_PATTERNS, k=rng.choice([1, 2, 2, 3, 3, 4, 6])):
            names = rng.sample(["read", "write", "admin", "others"], rng.randint(0, 4))
            rules.append({"pattern": pattern, "access": {n: rng.choice(_PEOPLE) for n in names}})
        terminal = rng.choice(
            [{}, {}, {}, {"terminal": True}, {"terminal": "yes"}, {"terminal": "off"}]
        )
        case.files[folder] = json.dumps({"rules": rules, **terminal})
        if rng.random() < 0.04:
            case.files[folder] = rng.choice(REFUSED_BY_PYSYFT + REFUSED_BY_GO)
            case.refused.add(folder)
    case.paths = _paths(rng, [*case.files], 6)
    return case


class PySyft:
    """Its own engine, on the files of a datasite that it loads."""

    def __init__(self, datasite: Path, case: Case) -> None:
        self.service = ACLService(owner=ALICE)
        for folder in set(case.files) - case.refused:
            rules = RuleSet.load(datasite / folder / NEW)
            rules.path = folder
            self.service.add_ruleset(rules)

    def may(self, email: str, right: str, path: str) -> bool:
        level = {"read": AccessLevel.READ, "admin": AccessLevel.ADMIN}.get(right, AccessLevel.WRITE)
        return self.service.can_access(ACLRequest(path, level, User(email)))


class Go:
    """The server's rules, as documented. Brackets may not stand for a slash here, nor stars be three."""

    def __init__(self, case: Case) -> None:
        self.files = {f: yaml.safe_load(t) for f, t in case.files.items() if f not in case.refused}

    def may(self, email: str, right: str, path: str) -> bool:
        above = sorted((f for f in self.files if f"{path}/".startswith(f)), key=len)
        terminal = [f for f in above if self.files[f].get("terminal") in (True, "yes")]
        for folder in (terminal or above[::-1])[:1]:
            rules = self.files[folder]["rules"]
            for rule in sorted(rules, key=lambda rule: -go_rank(rule["pattern"])):
                pattern = f"{ALICE}/{folder}{rule['pattern'].replace('{{.UserEmail}}', email)}"
                if go_fits(f"{ALICE}/{path}", pattern):
                    return self._allows(rule["access"], email, right, path)
        return False

    @staticmethod
    def _allows(access: dict[str, list[str]], email: str, right: str, path: str) -> bool:
        if right != "read" and path.endswith(NEW):
            right = "admin"
        names = {"read": ["admin", "write", "read"], "admin": ["admin"]}.get(
            right, ["admin", "write"]
        )
        return any(
            who in ("*", "USER", email) or (set(who) & set("*?[]") and go_fits(email, who))
            for name in names
            for who in access.get(name, [])
        )


def go_fits(text: str, pattern: str) -> bool:
    if not set(pattern) & set("*?["):
        return text == pattern
    flags = glob.GLOBSTAR | glob.DOTGLOB | glob.BRACE | glob.FORCEUNIX
    folder = pattern.removesuffix("/**") if pattern.endswith("/**") else pattern
    return bool(glob.globmatch(text, [pattern, folder], flags=flags))


def go_rank(pattern: str) -> int:
    """Twice the length, ten a slash; a `*` costs ten, in front twenty, other signs two; a template gives fifty."""
    if pattern in ("**", "**/*"):
        return {"**": -100, "**/*": -99}[pattern]
    costs = {"*": 10, "?": 2, "!": 2, "[": 2, "{": 2}
    rank = 2 * len(pattern) + 10 * pattern.count("/") - sum(costs.get(sign, 0) for sign in pattern)
    return rank - 10 * (pattern[:1] == "*") + 50 * ("{{" in pattern)


# --------------------------------------------------------------------------------------- syftperm.yaml
_OLD_PATHS = [
    *(
        "**",
        "**",
        "*",
        "*.txt",
        "a/*",
        "a/**",
        "**/*.txt",
        "**/c/*",
        "?",
        "a",
        "x.txt",
        ".h/**",
        "*.*",
        "**/",
    ),
    *(
        "{a,b}/*",
        "[ab]/*",
        "[!a]/*",
        "{useremail}/**",
        "{useremail}/*",
        "a/{useremail}",
        "{useremail}",
    ),
    *("{useremail}.txt", "*/{useremail}", "{useremail}*", "b/{useremail}/**"),
]
_OLD_REFUSED = [
    "",
    "3",
    "{}",
    "[3]",
    "- {path: '**', user: '*'}",
    "- {path: '**', user: '*', permissions: 3}",
    "- {path: '**', user: '*', permissions: {read: true}}",
    "- {path: '**', user: '*', permissions: [read, own]}",
    "- {path: '**', user: everybody, permissions: [read]}",
    "- {path: '**', user: '*', permissions: [read], priority: 3}",
    "- {path: '**', user: '*', permissions: [read], mode: 3}",
    "- {path: '../**', user: '*', permissions: [read]}",
    "- {path: '**/{useremail}', user: '*', permissions: [read]}",
    "- {user: '*', permissions: [read]}",
    "- {path: 3, user: '*', permissions: [read]}",
    "- {path: '**', user: '*', permissions: [read], allow: null}",
]


def old_case(rng: random.Random) -> Case:
    """A datasite with one to three `syftperm.yaml`, from its root downwards."""
    case = Case({}, [])
    for folder in sorted(rng.sample(_FOLDERS, rng.randint(1, 3)), key=lambda f: f.count("/")):
        rules = []
        for path in rng.choices(_OLD_PATHS, k=rng.choice([1, 2, 2, 3, 3, 4, 6])):
            names: Any = rng.sample(RIGHTS, rng.choice([1, 1, 2, 3, 4]))
            names = rng.choice([names, names, names[0].upper()])
            rule = {
                "path": path,
                "user": rng.choice([*USERS, BOB, "*", "*", "*"]),
                "permissions": names,
            }
            more = [{}, {}, {}, {"type": "disallow"}, {"allow": False}, {"allow": "no"}]
            rules.append(
                rule | rng.choice([*more, {"allow": True, "type": "disallow"}, {"type": "x"}])
            )
        case.files[folder] = json.dumps(rules)
    if rng.random() < 0.04:
        case.files[""] = rng.choice(_OLD_REFUSED)
        case.refused.add("")
        case.files = {"": case.files[""], **case.files}
    case.paths = _paths(rng, [*case.files], 6)
    return case


Answer = dict[tuple[str, str, str], bool]


def ask_syftbox(cases: list[Case]) -> list[Answer | None]:
    """What SyftBox 0.4.0 answers, all cases at once: (path, user, right) -> allowed; None where it loads no file."""
    questions = [
        {
            "files": {f"{ALICE}/{folder}{OLD}": text for folder, text in case.files.items()},
            "paths": [f"{ALICE}/{path}" for path in case.paths],
            "users": USERS,
        }
        for case in cases
    ]
    script = ROOT / "tests" / "support" / "syftbox_engine.py"
    answer = subprocess.run(
        [syftbox_python(), script],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    return [
        _answer(case, found) for case, found in zip(cases, json.loads(answer.stdout), strict=True)
    ]


def _answer(case: Case, found: list[list[bool]] | None) -> Answer | None:
    if found is None:
        return None
    asked = [(path, user) for path in case.paths for user in USERS]
    return {
        (path, user, right): allowed and (listed or right == "admin")
        for (path, user), (listed, *rights) in zip(asked, found, strict=True)
        for right, allowed in zip(RIGHTS, rights, strict=True)
    }
