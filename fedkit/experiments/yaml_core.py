"""YAML as its author means it: version 1.2's core schema, in which `on` and `12:30` are texts and `1e-3` is a number.

(YAML 1.2.2, section 10.3.2. PyYAML by itself reads version 1.1: True, 750, and the text "1e-3".) What a scalar without
quotes means may hang on who asks: 007 is 7 for a number, and stays 007 for a text. So it is read as `Written`, which keeps
both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

__all__ = ["Written", "plain", "read_yaml", "write_yaml"]


class Written(str):
    """A number, a yes or no, or nothing, as it stands there without quotes. value : what the core schema reads it as."""

    __slots__ = ("value",)
    value: int | float | bool | None

    def __new__(cls, text: str, value: int | float | bool | None) -> Written:
        """The text, with its value."""
        self = super().__new__(cls, text)
        self.value = value
        return self


def plain(read: Any, *, text: bool = False) -> Any:
    """What was read, without `Written`: their values, or with `text` what stands there (an empty place stays None).

    What stands in a list or in a mapping is no text by itself.
    """
    if isinstance(read, Written):
        return str(read) if text and read.value is not None else read.value
    if isinstance(read, Mapping):
        return {key: plain(value) for key, value in read.items()}
    return [plain(value) for value in read] if isinstance(read, list) else read


def _number(text: str) -> int | float:
    sign, digits = (text[0], text[1:]) if text[0] in "+-" else ("", text)
    if digits[0] == "." and digits[1].isalpha():  # .inf, .nan
        return float(sign + digits[1:])
    if digits[:2] in ("0o", "0x"):
        return int(digits, 0)
    return int(text) if digits.isdecimal() else float(text)


_CORE = {
    "null": (r"~|null|Null|NULL|", lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text[0] in "tT"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _number),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        _number,
    ),
}


class _Loader(yaml.SafeLoader):
    """The core schema, and no repeated keys: of two, YAML itself would keep the last and say nothing. Keys are texts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                said = "a key is a list or a mapping, not a name"
                raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
            if key.value in seen:
                said = f"the key {key.value!r} stands there twice"
                raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
            seen.add(str(key.value))
            if key.tag != "tag:yaml.org,2002:merge":
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)

    def construct_core(self, node: yaml.ScalarNode) -> Written:
        """What stands there, with its value."""
        kind = node.tag.rpartition(":")[2]
        text = str(node.value)
        if not re.fullmatch(_CORE[kind][0], text):  # asked for by a tag: !!int many
            said = f"{text!r:.40} is no {kind}"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark)
        return Written(text, _CORE[kind][1](text))


class _Dumper(yaml.SafeDumper):
    """Quotes what the core schema would read as something else than a text."""


_Loader.yaml_implicit_resolvers, _Dumper.yaml_implicit_resolvers = (
    {},
    {},
)  # without those of version 1.1
for _kind, (_pattern, _) in _CORE.items():
    _tag = f"tag:yaml.org,2002:{_kind}"
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), None)
    _Loader.add_constructor(_tag, _Loader.construct_core)
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<\Z"), ["<"])


def read_yaml(data: bytes | str) -> Any:
    """One document; scalars that are no texts as `Written`. Raises yaml.YAMLError, ValueError or RecursionError."""
    return yaml.load(data, Loader=_Loader)


def write_yaml(values: Any) -> bytes:
    """Values as YAML that `read_yaml` reads back, in their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False).encode()
