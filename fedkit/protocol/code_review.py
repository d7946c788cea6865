"""What a person should look at before approving a model: a plain walk through its syntax tree. A hint, not a guarantee.

Whoever wants to hide something from this can. Nothing here runs the code or proves that it is harmless; it points at the
lines that a model of a few layers does not need. A person reads them, at the desk or with `fedkit approve`.
"""

from __future__ import annotations

import ast
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from fedkit.base.text import is_hidden

__all__ = ["DISCLAIMER", "Finding", "review_code"]


DISCLAIMER = (
    "A hint, not a guarantee: what is well hidden is not found, and weights can carry data."
)

_EXPECTED = {
    *("torch", "torchvision", "math", "typing", "collections", "dataclasses", "functools"),
    *("itertools", "enum", "abc", "__future__"),
}
_MODULES = {
    "files and processes": "os",
    "files": "pathlib shutil io tempfile glob fileinput zipfile tarfile sqlite3 shelve dbm mmap",
    "the network": "socket ssl urllib urllib3 http requests httpx aiohttp ftplib smtplib telnetlib "
    "websocket websockets xmlrpc asyncio socketserver webbrowser paramiko grpc",
    "processes": "subprocess multiprocessing signal pty threading concurrent atexit psutil pexpect",
    "code that is loaded or made while it runs": "importlib runpy pkgutil imp zipimport pickle "
    "cloudpickle dill joblib marshal ctypes cffi code codeop builtins inspect gc sys types site",
}
_ACCESS = {name: what for what, names in _MODULES.items() for name in names.split()}
_CALLS = {
    "exec": "runs text as code",
    "eval": "runs text as code",
    "compile": "turns text into code",
    "__import__": "imports what a text names",
    "open": "opens a file",
    "input": "waits for the keyboard",
    "breakpoint": "stops in a debugger",
    "getattr": "reaches a name that a text spells, which this review can't follow",
    "setattr": "changes a name that a text spells, which this review can't follow",
    "delattr": "removes a name that a text spells, which this review can't follow",
    "globals": "reaches every name of the program",
    "locals": "reaches names by their text",
    "vars": "reaches names by their text",
}
_TORCH = {
    "hub": "torch.hub loads code from the network",
    "load": "torch.load reads a file, and may run code in it",
    "save": "torch.save writes a file",
    "from_file": "reads a file",
    "load_library": "loads a library of machine code",
    "cpp_extension": "compiles and runs C++",
    "distributed": "torch.distributed talks over the network",
    "multiprocessing": "torch.multiprocessing starts processes",
    "package": "torch.package imports code from a file",
    "tofile": "writes a file",
    "fromfile": "reads a file",
    "system": "starts a process",
    "popen": "starts a process",
}
_PLAIN_ATTRIBUTES = {"code", "types", "signal", "site", "concurrent"}  # torch has some of its own
_PLAIN_DUNDERS = {"__init__", "__name__", "__call__", "__version__", "__repr__", "__len__"}
_LONG_TEXT, _LONG_LINE = 120, 200
_DEFINITIONS = (
    *(ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef),
    *(ast.Assign, ast.AnnAssign, ast.Pass),
)


@dataclass(frozen=True, order=True)
class Finding:
    """A line (from 1; 0 is the file as a whole) and what a person should look at there."""

    line: int
    what: str


def review_code(source: str, class_name: str | None = None) -> list[Finding]:
    """What stands out in a model's source, in the order of its lines; empty where nothing does.

    class_name : the class that the config asks for. Never raises and never runs anything.
    """
    found = set(_in_the_text(source))
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 0
        what = f"can't be read as Python ({type(error).__name__}), so nothing here was reviewed"
        return sorted({*found, Finding(line, what)})
    for node in ast.walk(tree):
        found.update(Finding(getattr(node, "lineno", 0), what) for what in _in_a_node(node))
    found.update(_as_it_loads(tree))
    found.update(_kept_while_it_runs(tree))
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    if class_name is not None and class_name not in classes:
        found.add(Finding(0, f"has no class {class_name}, which the config asks for"))
    return sorted(found)


def _as_it_loads(tree: ast.Module) -> Iterator[Finding]:
    """Statements outside of functions that do more than define something."""
    bodies = [tree.body, *(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    for statement in chain.from_iterable(bodies):
        if not isinstance(statement, _DEFINITIONS) and not _is_text(statement):
            yield Finding(statement.lineno, "runs as soon as the file is loaded")


def _kept_while_it_runs(tree: ast.Module) -> Iterator[Finding]:
    """What a method other than `__init__` puts into `self`: in a buffer, it leaves with the weights."""
    for kind in ast.walk(tree):
        methods = kind.body if isinstance(kind, ast.ClassDef) else []
        for method in methods:
            if isinstance(method, ast.FunctionDef) and method.name != "__init__":
                for node in ast.walk(method):
                    for name in _written(node):
                        what = f"{method.name} keeps something in self.{name}: in a buffer, it leaves with the weights"
                        yield Finding(getattr(node, "lineno", 0), what)


def _written(node: ast.AST) -> Iterator[str]:
    """The attributes of `self` that a node writes to: by `=`, into a part, or by a method such as `copy_`."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = [
            part
            for target in node.targets
            for part in ast.walk(target)
            if isinstance(part, ast.expr)
        ]
    elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr):
        targets = [node.target]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        in_place = node.func.attr.endswith("_") and not node.func.attr.startswith("_")
        targets = [node.func.value] if in_place else []
    for target in targets:
        inner = target.value if isinstance(target, ast.Subscript) else target
        while isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Attribute):
            inner = inner.value  # self.fc.weight is a part of self.fc
        if (
            isinstance(inner, ast.Attribute)
            and isinstance(inner.value, ast.Name)
            and inner.value.id == "self"
        ):
            yield inner.attr


def _in_a_node(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _import(alias.name)
    elif isinstance(node, ast.ImportFrom):
        yield from _import(f"{'.' * node.level}{node.module or ''}")
        for alias in node.names:
            if (node.module or "").split(".")[0] in ("torch", "torchvision"):
                yield from _torch(alias.name, f"{node.module}.{alias.name}")
            if alias.name == "*":
                yield f"imports every name of {node.module}, which this review can't follow"
    elif isinstance(node, ast.Name):
        if node.id in _CALLS:
            yield f"{node.id}: {_CALLS[node.id]}"
        elif node.id.startswith("__") and node.id not in _PLAIN_DUNDERS:
            yield f"{node.id} reaches into Python itself"
    elif isinstance(node, ast.Attribute):
        yield from _torch(node.attr, ast.unparse(node) if _short(node) else node.attr)
        if node.attr.startswith("__") and node.attr not in _PLAIN_DUNDERS:
            yield f"{node.attr} reaches into Python itself"
    elif isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        longest = max(map(len, node.value.split()), default=0)
        if longest > _LONG_TEXT:
            yield f"holds {longest:,} characters without a blank: data or code may hide in them"


def _import(name: str) -> Iterator[str]:
    top = name.split(".")[0]
    if top in _ACCESS:
        yield f"imports {name}: access to {_ACCESS[top]}"
    elif top not in _EXPECTED:
        yield f"imports {name}: a model needs nothing beyond torch"
    elif name != top:
        for part in name.split(".")[1:]:
            yield from _torch(part, name)


def _torch(name: str, full: str) -> Iterator[str]:
    if name in _TORCH:
        yield f"{full}: {_TORCH[name]}"
    elif name in _ACCESS and name not in _PLAIN_ATTRIBUTES:
        yield f"{full}: access to {_ACCESS[name]}"


def _in_the_text(source: str) -> Iterator[Finding]:
    """What a reader would not see: signs that turn the direction of writing, and code far to the right."""
    for number, line in enumerate(source.split("\n"), 1):
        hidden = {c for c in line if is_hidden(c) and c not in "\t\r\f"}
        for sign in sorted(hidden):
            name = unicodedata.name(sign, f"U+{ord(sign):04X}")
            what = f"holds an invisible sign ({name}): the line is not what it looks like"
            yield Finding(number, what)
        if len(line) > _LONG_LINE:
            yield Finding(number, f"is {len(line):,} characters long: look at its end too")


def _short(node: ast.Attribute) -> bool:
    """Is it a chain of plain names, such as torch.hub.load?"""
    inner: ast.expr = node
    for _ in range(6):
        if isinstance(inner, ast.Name):
            return True
        if not isinstance(inner, ast.Attribute):
            return False
        inner = inner.value
    return False


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
