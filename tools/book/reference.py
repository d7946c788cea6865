"""Reference pages, written from what the code says of itself: docstrings, signatures, help texts, fields.

fedkit's docstrings are plain text with backticks, with names listed as `name : what it is`, and formulas set apart. They
are read as such here: a text that means `||w||` or `sum_k p_k` would be another thing in reStructuredText.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import PurePath
from types import ModuleType
from typing import Any

import fedkit
from fedkit.base.errors import FedkitError

__all__ = [
    "api_pages",
    "commands",
    "commands_page",
    "keys_page",
    "markdown",
    "public_names",
    "summary",
]

SUBPACKAGES = ("plots", "privacy", "roads", "widgets", "check")
ROOMS = {
    "config": "What people write",
    "data": "Samples, and who gets which",
    "datasite": "One datasite",
    "learning": "Models, training and strategies",
    "rounds": "Rounds without files",
    "protocol": "Files between datasites",
    "federation": "Many datasites",
    "experiments": "Many runs",
    "teaching": "In a notebook",
    "base": "Files, seeds, errors and events",
}
"""Package -> the title of its page, in the order in which a reader meets them."""
SETTINGS = {
    "dp": ("fedkit.config.dp", "DPSettings"),
    "optimizer": ("fedkit.config.optimizer", "Optimizer"),
    "schedule": ("fedkit.config.schedule", "Schedule"),
    "secure_aggregation": ("fedkit.config.secure_aggregation", "SecureAggregation"),
    "task": ("fedkit.config.task", "Task"),
    "validation": ("fedkit.config.validation", "Validation"),
}
"""Key of fl_config.json -> the class that holds what stands in its braces."""

ITEM = re.compile(r"^(?P<names>[a-z]\w*(?:, [a-z]\w*)*) : (?P<text>.*)$")
WITHIN = re.compile(r"(?<=[.;] )(?P<names>[a-z]\w*(?:, [a-z]\w*)*) : ")
JSON = re.compile(r"`[^`]+`|(\{(?:[^{}`]|\{[^{}`]*\})*\"(?:[^{}`]|\{[^{}`]*\})*\})")
FORMULA = re.compile(r"\S {3,}\S")
WORDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "array": "list",
    "object": "object",
}
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
LONG_DEFAULT = 60  # characters: a default that is longer is no help in a signature


# -------------------------------------------------------------------------------------- docstrings
def summary(value: Any, name: str = "", home: str = "") -> str:
    """The first paragraph of what stands about a value: its docstring, or for a constant the text below it. Else ''."""
    return WITHIN.split(_doc(value, name, home).split("\n\n")[0])[0].strip()


def _doc(value: Any, name: str, home: str) -> str:
    if inspect.isroutine(value) or inspect.isclass(value) or inspect.ismodule(value):
        return inspect.cleandoc(value.__doc__ or "")
    return _below(home, name) if home else ""


def _below(home: str, name: str) -> str:
    """What stands right below a constant, or the second name of a type, in its module."""
    body = ast.parse(inspect.getsource(import_module(home))).body
    for statement, following in pairwise(body):
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        if name in [getattr(target, "id", None) for target in targets]:
            match following:
                case ast.Expr(ast.Constant(str(text))):
                    return inspect.cleandoc(text)
    return ""


def markdown(doc: str) -> str:
    """A docstring as MyST: prose, definition lists for `name : text`, code blocks for formulas and examples."""
    blocks: list[str] = []
    for block in _paragraphs(doc):
        lines = block.splitlines()
        if len(lines) > 1 and set(lines[1].strip()) == {"-"}:  # numpy's headings
            blocks.append(f"**{lines[0].strip()}**")
            lines = lines[2:]
        if not lines:
            continue
        if lines[0].startswith(("    ", ">>>")) or _is_formula(lines):
            blocks.append("```text\n" + inspect.cleandoc("\n" + "\n".join(lines)) + "\n```")
        else:
            blocks += _prose(lines)
    return "\n\n".join(blocks)


def _paragraphs(doc: str) -> Iterator[str]:
    for block in re.split(r"\n\s*\n", inspect.cleandoc(doc)):
        if block.strip():
            yield block.rstrip()


def _is_formula(lines: list[str]) -> bool:
    return all(FORMULA.search(line) for line in lines)


def _prose(lines: list[str]) -> list[str]:
    """Paragraphs and definition lists of a block without blank lines."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        item = ITEM.match(line)
        if item:
            found.append((item["names"], [item["text"]]))
        elif found and not (found[-1][0] and line.startswith(("Raises ", "Returns "))):
            found[-1][1].append(line.strip())
        else:
            found.append(("", [line.strip()]))
    blocks: list[str] = []
    for names, text in found:
        # more of them may stand in one line: "size : bytes. time : seconds"
        first, *more = WITHIN.split(" ".join(text))
        for name, said in [(names, first), *zip(more[::2], more[1::2], strict=True)]:
            # an error that is told behind the last of them is an error of the whole
            said, *raises = re.split(r"(?<=[.)] )(?=Raises [A-Z])", said.strip(), maxsplit=1)
            body = re.sub(r"^(\d+)\.", r"\1\\.", _escaped(said.strip()))
            if body.startswith(("* ", "- ")):
                body = re.sub(r" (?=\* )", "\n", body)
            blocks += [f"{_codes(name)}\n: {body}" if name else body, *map(_escaped, raises)]
    return blocks


def _codes(names: str) -> str:
    return ", ".join(f"`{name}`" for name in names.split(", "))


def _escaped(text: str) -> str:
    """Markup characters as they are, but for what stands in backticks, and JSON, which gets them."""
    text = JSON.sub(lambda m: f"`{m[1]}`" if m[1] else m[0], text)
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([\\<$*_\[\]{}|~#])", r"\\\1", part)
        for part in parts
    )


# ---------------------------------------------------------------------------------------------- fk
def public_names() -> list[tuple[str, str, Any]]:
    """Everything that `import fedkit as fk` gives a learner: (dotted name after `fk.`, its module, the value)."""
    found = [
        (name, f"fedkit.{fedkit._HOME[name]}", getattr(fedkit, name))
        for name in fedkit.__all__
        if name in fedkit._HOME
    ]
    for package in SUBPACKAGES:
        module = getattr(fedkit, package)
        for name in module.__all__:
            value = getattr(module, name)
            home = getattr(value, "__module__", None) or _home_of(module, name)
            found.append((f"{package}.{name}", home if home.startswith("fedkit") else "", value))
    return found


def _home_of(package: ModuleType, name: str) -> str:
    """The module of a package in which a constant is written down."""
    below = [home for home in sys.modules if home.startswith(f"{package.__name__}.")]
    return next((home for home in sorted(below) if _below(home, name)), package.__name__)


def api_pages() -> dict[str, str]:
    """File name -> text: an index, a page for each room of the package, and for each of `fk.plots` and its like."""
    rooms: dict[str, list[tuple[str, str, Any]]] = {}
    for name, home, value in public_names():
        package, dot, _ = name.partition(".")
        room = package if dot else fedkit._HOME[name].split(".")[0]
        rooms.setdefault(room, []).append((name, home, value))
    order = [*ROOMS, *SUBPACKAGES]
    strange = rooms.keys() - set(order)
    if strange:
        raise FedkitError(
            f"no page for {', '.join(sorted(strange))}",
            file="tools/book/reference.py",
            field="ROOMS",
            remedy="give that package a title there",
        )
    pages = {}
    lines = [
        "# What `fk` gives",
        "",
        "Everything that `import fedkit as fk` gives, room by room.",
        "",
    ]
    for room in order:
        if room not in rooms:
            continue
        title = ROOMS.get(room, f"`fk.{room}`")
        pages[f"{room}.md"] = _room_page(title, room, rooms[room])
        lines += [f"## [{title}]({room}.md)", "", "| name | what it is |", "|---|---|"]
        for name, home, value in rooms[room]:
            first = _escaped(" ".join(summary(value, name.split(".")[-1], home).split()))
            lines.append(f"| [`fk.{name}`](#fk.{name}) | {first} |")
        lines.append("")
    toctree = ["```{toctree}", ":hidden:", "", *[page.removesuffix(".md") for page in pages], "```"]
    pages["index.md"] = "\n".join([*lines, *toctree, ""])
    return pages


def _room_page(title: str, room: str, names: list[tuple[str, str, Any]]) -> str:
    module = getattr(fedkit, room) if room in SUBPACKAGES else import_module(f"fedkit.{room}")
    parts = [f"# {title}", markdown(module.__doc__ or "")]
    for name, home, value in names:
        parts.append(_entry(name, home, value))
    return "\n\n".join(parts) + "\n"


def _entry(name: str, home: str, value: Any) -> str:
    short = name.split(".")[-1]
    doc = _doc(value, short, home)
    if inspect.isclass(value):
        body = [markdown(doc)] if not _is_made_up(value) else []
        members = [_member(value, member) for member in _members(value)]
        return _directive("class", name, _signature(value), "\n\n".join([*body, *members]), 5)
    if callable(value) and not isinstance(value, type) and inspect.isroutine(value):
        return _directive("function", name, _signature(value), markdown(doc), 4)
    return _directive("data", name, "", markdown(doc), 4)


def _is_made_up(value: type) -> bool:
    """Is the docstring the one that `dataclass` writes, the signature once more?"""
    return (value.__doc__ or "").startswith(f"{value.__name__}(")


def _members(value: type) -> list[str]:
    return [
        name
        for name, member in vars(value).items()
        if not name.startswith("_")
        and (inspect.isroutine(member) or isinstance(member, property | classmethod | staticmethod))
        and (_bare(member).__doc__ or "").strip()
        and str(getattr(_bare(member), "__module__", "fedkit")).startswith("fedkit")
    ]


def _bare(member: Any) -> Any:
    if isinstance(member, property):
        return member.fget
    return getattr(member, "__func__", member)


def _member(owner: type, name: str) -> str:
    raw = vars(owner)[name]
    doc = markdown(inspect.cleandoc(_bare(raw).__doc__ or ""))
    if isinstance(raw, property):
        return _directive("property", name, "", doc, 4)
    kind = "classmethod" if isinstance(raw, classmethod) else "method"
    return _directive(kind, name, _signature(getattr(owner, name), bound=kind == "method"), doc, 4)


def _signature(value: Any, *, bound: bool = False) -> str:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return "()"
    parameters = list(signature.parameters.values())
    if bound and parameters and parameters[0].name == "self":
        parameters = parameters[1:]
    empty = inspect.Parameter.empty
    plain = [
        p.replace(
            default=p.default if p.default is empty else _AsItIs(_default(p.default)),
            annotation=p.annotation if p.annotation is empty else _AsItIs(_named(p.annotation)),
        )
        for p in parameters
    ]
    returns = signature.return_annotation
    if inspect.isclass(value) or returns is empty:
        return str(signature.replace(parameters=plain, return_annotation=empty))
    shown = signature.replace(parameters=plain, return_annotation=_AsItIs(_named(returns)))
    return " ".join(str(shown).split())


class _AsItIs:
    """Stands in a signature with its text, without quotes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _default(value: Any) -> str:
    if inspect.isroutine(value) or inspect.isclass(value):
        return str(value.__name__)
    if isinstance(value, PurePath):  # of the machine on which the book is built
        return repr(value.name) if value.is_absolute() else repr(value.as_posix())
    text = repr(value)
    return "..." if len(text) > LONG_DEFAULT or " at 0x" in text or "\n" in text else text


def _named(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Z])", "", text)


def _directive(kind: str, name: str, signature: str, body: str, fence: int) -> str:
    ticks = ":" * fence
    options = ":module: fk\n" if fence and kind in ("function", "class", "data") else ""
    indent = "\n".join(
        [f"{ticks}{{py:{kind}}} {name}{signature}", options.rstrip(), "", body, ticks]
    )
    return indent.replace("\n\n\n", "\n\n")


# -------------------------------------------------------------------------------------- command line
def commands_page() -> str:
    """Every command with its arguments and options, as its own help has them."""
    parts = [
        "# Commands",
        "Written from the commands' own help: `fedkit COMMAND --help` says the same at a prompt. Exit codes: 0 done, "
        "1 an error that says what to do, 2 wrong usage, 3 (`--once`) waiting for somebody else.",
        "\n".join(
            [
                "| command | does |",
                "|---|---|",
                *(
                    f"| [`fedkit {' '.join(names)}`](#fedkit-{'-'.join(names)}) | {_first_line(command)} |"
                    for names, command in commands()
                    if len(names) == 1
                ),
            ]
        ),
    ]
    for names, command in commands():
        parts.append(_command(names, command))
    return "\n\n".join(parts) + "\n"


def commands() -> list[tuple[tuple[str, ...], Any]]:
    """Every command and every group of commands, as typer has them: (its names after `fedkit`, the command)."""
    from fedkit.cli import main

    return [found for name in main.COMMANDS for found in _walk((name,), main._loaded(name))]


def _walk(names: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield names, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _walk((*names, name), below)


def _first_line(command: Any) -> str:
    return _escaped(" ".join((command.help or "").split("\n\n")[0].split()))


def _command(names: tuple[str, ...], command: Any) -> str:
    import typer

    title = " ".join(["fedkit", *names])
    context = typer.Context(command, info_name=title)
    usage = " ".join([title, *command.collect_usage_pieces(context)])
    # a form feed cuts what only an author reads
    said = markdown((command.help or "").split("\f")[0])
    parts = [
        f"(fedkit-{'-'.join(names)})=\n{'#' * (len(names) + 1)} `{title}`",
        said,
        f"```text\n{usage}\n```",
    ]
    rows = [
        f"| `{record[0].replace('|', chr(92) + '|')}` | {_help(record[1])} |"
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) and record[0] != "--help"
    ]
    if rows:
        parts.append("\n".join(["| option | |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _help(text: str) -> str:
    return _escaped(" ".join(text.replace("\\[", "[").split()))


# ---------------------------------------------------------------------------------------------- keys
def keys_page() -> str:
    """The keys of `fl_config.json`, from the classes that read it: what each says, its type, range and default."""
    parts = [
        "# Keys of `fl_config.json`",
        "Written from the classes that read the file; `help(fk.FLConfig)` says the same at a prompt. "
        "A key that nobody knows is kept as it is, and a warning names the nearest one.",
        "## The experiment",
        *_keys(fedkit.FLConfig),
    ]
    for key, (module, name) in SETTINGS.items():
        parts.append(f"(key-{key.replace('_', '-')})=\n## `{key}`")
        parts += _keys(getattr(import_module(module), name))
    return "\n\n".join(parts) + "\n"


def _keys(cls: Any) -> list[str]:
    schema = cls.model_json_schema()
    must = set(schema.get("required", ()))
    rows = ["| key | what it is | if it is not there |", "|---|---|---|"]
    for name, field in schema["properties"].items():
        default = "it must be there" if name in must else _json(field.get("default"))
        rows.append(f"| `{name}` | {_kind(field)} | {default} |")
    return [markdown(cls.__doc__ or ""), "\n".join(rows)]


def _json(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "none"
    return "each of its keys as below" if isinstance(value, dict) else f"`{json.dumps(value)}`"


def _kind(field: dict[str, Any]) -> str:
    """A field of a JSON schema in words."""
    if "anyOf" in field:
        return " or ".join(_kind(kind) for kind in field["anyOf"] if kind.get("type") != "null")
    if "enum" in field:
        return ", ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if "$ref" in field:
        return f"an object (`{field['$ref'].rpartition('/')[2]}`)"
    kind = WORDS.get(field.get("type", ""), "a value")
    if "items" in field and not isinstance(field["items"], bool):
        kind += f" of: {_kind(field['items'])}"
    limits = [f"{sign} {field[name]:,}" for name, sign in LIMITS.items() if name in field]
    return ", ".join([kind, *limits])
