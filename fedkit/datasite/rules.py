"""The rules of a permission file: what every engine can load, and what a rule says.

`permissions` asks them, and its table says where the engines differ.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, field_validator

from fedkit.base.names import PERMISSION_FILES
from fedkit.datasite.patterns import Way, check, fits

__all__ = ["BROKEN", "MAX_BYTES", "Engine", "OldRule", "Right", "Rule", "RuleFile", "load"]


Right = Literal["read", "create", "write", "admin"]
Engine = Literal["PySyft", "Go"]

BROKEN = "broken"
"""What a permission file holds that can't be loaded."""

MAX_BYTES = 2**16
_MAX_RULES = 1000
_DEEPEST = 30
_WAY: dict[Engine, Way] = {"PySyft": "wcmatch", "Go": "doublestar"}
_NEW, _OLD, _ = PERMISSION_FILES
_EMAIL, _OLD_EMAIL = "{{.UserEmail}}", "{useremail}"
_YES, _NO = ("y", "Y", "yes", "on"), ("n", "N", "no", "off")


def _switch(value: Any) -> Any:
    """A yes or no that every engine takes as one; each of them takes others besides."""
    if isinstance(value, str):
        return True if value in _YES else False if value in _NO else None
    return value if isinstance(value, bool) else None


_Switch = Annotated[bool, BeforeValidator(_switch)]
_Short = Annotated[str, Field(max_length=1024)]


class _Access(BaseModel):
    """Who may do what, by one rule."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, list[str]] = Field(init=False)

    admin: list[_Short] = []
    write: list[_Short] = []
    read: list[_Short] = []


class Rule(BaseModel):
    """A rule of `syft.pub.yaml`."""

    pattern: _Short = Field(min_length=1)
    access: _Access

    @field_validator("pattern")
    @classmethod
    def _readable(cls, pattern: str) -> str:
        plain = pattern.replace(_EMAIL, "e")
        braces = ["{{" in plain, "}}" in plain]
        if "{{{" in pattern or all(braces) or (plain != pattern and any(braces)):
            raise ValueError("no template but {{.UserEmail}}")
        if _is_glob(plain):
            for way in _WAY.values():
                check(plain, way)
        return pattern

    def fits(self, path: str, email: str, engine: Engine, folder: str = "") -> bool:
        """Does it speak of `path`? folder : what stands before the pattern."""
        pattern = folder + self.pattern.replace(_EMAIL, email)
        return fits(path, pattern, _WAY[engine]) if _is_glob(pattern) else path == pattern

    def rank(self, engine: Engine) -> tuple[int, ...]:
        """Of the rules that fit, the one of the highest rank decides; of equal ones, the first."""
        pattern = self.pattern
        if engine == "PySyft":
            # a template, then names without wildcards, then names with, then few `**`
            names = [name for name in pattern.split("/") if _EMAIL not in name]
            deep = names.count("**")
            exact = sum(not _is_glob(name) and "{" not in name for name in names)
            wild = sum(_is_glob(name) for name in names) - deep
            return _EMAIL in pattern, exact, wild, -deep, pattern.count("/")
        if pattern in ("**", "**/*"):
            return (-100 if pattern == "**" else -99,)
        score = 2 * len(pattern.encode("utf-8", "replace")) + 10 * pattern.count("/")
        score += 50 * (_EMAIL in pattern) - 10 * pattern.count("*") - 10 * pattern.startswith("*")
        return (score - 2 * sum(pattern.count(sign) for sign in "?![{"),)

    @property
    def named(self) -> set[str] | None:
        """Whom it names: all others are alike to it. None where that hangs on how an e-mail is spelt."""
        people = {*self.access.admin, *self.access.write, *self.access.read}
        spelt = any(sign in who for who in people - {"*"} for sign in "*?[]")
        return None if spelt or _EMAIL in self.pattern else people

    def allows(self, email: str, right: Right, engine: Engine) -> bool:
        """Does it give the right? admin implies write and create, which imply read."""
        people = [*self.access.admin]
        people += self.access.write if right != "admin" else []
        people += self.access.read if right == "read" else []
        return any(_is_among(email, who, engine) for who in people)


def _is_glob(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def _is_among(email: str, who: str, engine: Engine) -> bool:
    if who in (email, "*", "USER"):
        return True
    if engine == "PySyft":
        return ("*" in who or "?" in who) and fnmatchcase(email, who)
    return (_is_glob(who) or "]" in who) and fits(email, who, "doublestar")


class RuleFile(BaseModel):
    """What a `syft.pub.yaml` holds. terminal : the files further down do not count."""

    rules: list[Rule] = Field(default=[], max_length=_MAX_RULES)
    terminal: _Switch = False


class OldRule(BaseModel):
    """A rule of `syftperm.yaml`."""

    model_config = ConfigDict(extra="forbid")

    path: _Short
    user: _Short = Field(pattern=r"^(\*$|[^@]+@[^@]+)")
    permissions: list[Right]
    allow: _Switch = True
    type: Any = None

    @field_validator("permissions", mode="before")
    @classmethod
    def _listed(cls, names: Any) -> Any:
        names = [names] if isinstance(names, str) else names
        return [name.lower() for name in names] if isinstance(names, list) else None

    @field_validator("path")
    @classmethod
    def _readable(cls, path: str) -> str:
        before, email, _ = path.rpartition(_OLD_EMAIL)
        if path.startswith("../") or (email and "**" in before):
            raise ValueError("a path that leads out of its folder, or `**` before {useremail}")
        check(path.replace(_OLD_EMAIL, "e"), "wcmatch 10")
        return path

    def fits(self, path: str, email: str) -> bool:
        """Does it speak of `path`, asked by `email`?"""
        return fits(path, self.path.replace(_OLD_EMAIL, email), "wcmatch 10")

    def names(self, path: str) -> str | None:
        """The first e-mail in `path` for which it speaks of it; "" where it asks for none, None where it does not."""
        if _OLD_EMAIL not in self.path:
            return "" if self.fits(path, "") else None
        return next((e for e in path.split("/") if "@" in e and self.fits(path, e)), None)

    @property
    def named(self) -> set[str] | None:
        """As `Rule.named`."""
        return None if _OLD_EMAIL in self.path else {self.user}

    @property
    def gives(self) -> dict[Right, bool]:
        """right -> whether it is given or taken away."""
        return dict.fromkeys(self.permissions, self.allow and self.type != "disallow")


_OldRules = TypeAdapter(Annotated[list[OldRule], Field(max_length=_MAX_RULES)])


# ------------------------------------------------------------------------------------------ loading
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Plain YAML, in which a key stands once."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) != len(node.value):
            raise yaml.YAMLError("a key twice")
        return mapping


@lru_cache(maxsize=1024)
def load(data: bytes, kind: str) -> Any:
    """What a permission file of this kind (its name) holds, BROKEN where it can't be loaded; equal bytes are loaded once.

    A RuleFile, a list of OldRule, or of `_.syftperm` what is there. Plain YAML only: a tag, an alias, or more than thirty
    levels, and the file is broken.
    """
    try:
        depth = 0
        for event in yaml.parse(data, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if (
                isinstance(event, yaml.AliasEvent)
                or getattr(event, "tag", None)
                or depth > _DEEPEST
            ):
                return BROKEN
        value = yaml.load(data, Loader=_Loader)
        if kind == _NEW:
            return RuleFile.model_validate({} if value is None else value)
        return _OldRules.validate_python(value) if kind == _OLD else value
    except Exception:  # the parser, and what builds its dates and numbers, raise many kinds
        return BROKEN
