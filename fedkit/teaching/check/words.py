"""Words for how a learner's code stopped, and for slips that its source shows: what a bare error would not say."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import linecache
import math
import re
import traceback
import types
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from fedkit.base.text import nearest
from fedkit.teaching.check.attempt import Endless, code_of, tree_of

__all__ = ["in_words", "kept", "line_at_fault", "slips"]


# --------------------------------------------------------------------------------------- an error
def in_words(error: BaseException, answers: Sequence[object]) -> str:
    """How the learner's code stopped, and in which of its lines."""
    said = _said(error)
    for answer in answers:
        line = line_at_fault(error, answer)
        if line is None:
            continue
        if isinstance(error, Endless):
            return (
                f"Your code was still running after some seconds, so it was stopped ({line}). "
                "Does each loop in it come to an end?"
            )
        if isinstance(error, RecursionError):
            return f"Your function calls itself again and again, without an end ({line})."
        if isinstance(error, SystemExit):
            return f"Your code ends the whole program ({line}). `return` ends a function."
        return f"Your code stops with {said} ({line}).{_meant(error, answer, line)}"
    if isinstance(error, Endless):
        return "Your code was still running after some seconds, so it was stopped."
    return f"Your answer has another form than the check expects ({said})."


def _said(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # an error of the learner's own
        text = ""
    text = text if len(text) <= _LONG else text[:_LONG] + " ..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


_LONG = 300


_MEANINGS = {
    r"unsupported operand type\(s\) for [|&^]=?: .*'list'": "`|` joins sets, `+` joins lists.",
    r"unsupported operand type.*'set' and 'set'": "Sets are joined by `|`.",
    r"unsupported operand type.*'list'|can't multiply sequence": "A list is not one number: calculate with each of "
    "its items.",
    r"only integer tensors of a single element": "A list is not one number: calculate with each of its items.",
    r"unsupported operand type.*'dict'": "A dict is not one number: calculate with what it has under each name.",
    r"unsupported operand type.*'str' and 'str'|(not enough|too many) values to unpack": "Going through a dict gives "
    "its names alone; `.items()` gives each name with what it holds.",
    r"not implemented for '(Long|Int)'": "'Long' and 'Int' are whole numbers, such as labels. "
    "Do the arguments stand in the right order?",
    r"Boolean value of Tensor|truth value of an array": "A tensor of many is no single yes or no: is any of them "
    "meant, all of them, or each by itself?",
    r"slice\(\) cannot be applied|'generator' object is not subscriptable|unhashable type: 'slice'": "That line takes "
    "pieces of it, so it has to be a list.",
    r"unhashable type: 'set'": "`.add` takes one thing; another set is joined by `|=`.",
    r"'(float|int)' object is not iterable|does not require grad": "A gradient needs a tensor that was calculated from "
    "the weights: `.item()`, `.detach()` and float() cut it off.",
    r"backward through the graph a second time": "Gradients are taken once: here `autograd.grad` does, so nothing else "
    "should.",
    r"leaf Variable that requires grad": "`-=` and `+=` change the weights themselves. Calculate something new from them.",
    r"tuple index out of range": "With a `dim`, `.sort()`, `.max()` and `.median()` give two things: values, and their "
    "places.",
    r"tensors used as indices must be": "An index is a place. `.max()` gives the largest value, `.argmax()` its place.",
    r"valid indices|indices must be integers": "An index is a whole number: `/` never gives one, `//` does.",
    r"tensor_split\(\) received an invalid": "It takes a list of whole numbers.",
    r"zip\(\) argument 2 is (longer|shorter).*tensor_split": "There is one piece more than cuts.",
    r"out of bounds for uint64": "uint64 has no numbers below 0, so it can't be multiplied by -1. It can be subtracted.",
    r"MemoryError|can't allocate memory": "That is more memory than a check gives. Is something far too large?",
    r"^KeyError": "There is nothing under that name.",
}
"""What errors of Python, torch and numpy mean here, which don't say what a learner has done."""


def _meant(error: BaseException, answer: object, line: str) -> str:
    """The name that was written where another is used, or what a library's error means here."""
    if re.search(r": raise\b", line):
        return " This line of yours raises it on purpose; a check looks at what comes back by `return`."
    for words, meaning in _MEANINGS.items():
        if not isinstance(error, NameError) and re.search(words, f"{_said(error)} {line}"):
            return f" {meaning}"
    code = code_of(answer)
    if not isinstance(error, NameError) or code is None or not isinstance(error.name, str):
        return ""
    known = [*code.co_varnames, *code.co_names, *code.co_freevars]
    near = nearest(error.name, [name for name in known if name != error.name])
    if near and _alike(error.name, near) >= _ALIKE:
        return f" Did you mean {near}?"
    return " No line of your function sets it." if error.name not in code.co_varnames else ""


def _alike(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()


_ALIKE = 0.7
"""From here on two names are one, misspelled: `order` and `model`, at 0.6, are two."""


def line_at_fault(error: BaseException, answer: object) -> str | None:
    """The innermost line of the learner's function that the error came through, in words."""
    code = code_of(answer)
    if code is None:
        return None
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == code.co_filename:
            found = line
    if found is None:
        return None
    text = linecache.getline(code.co_filename, found).strip()
    where = f"line {found - code.co_firstlineno + 1} of {code.co_name}"
    return where + (f": {text[:_LONG]}" if text else "")


# ------------------------------------------------------------------------ slips that the source shows
def slips(answer: object, before: Mapping[str, str]) -> list[str]:
    """What the source of a wrong function gives away, in words. before : what `kept` said before its first call."""
    tree = tree_of(answer)
    if tree is None:
        return []
    found = [_stray_name(tree), _borrowed(tree, answer), _nothing_back(tree)]
    after = kept(answer)
    changed = [name for name, value in before.items() if after.get(name) != value]
    if changed:
        found.append(
            f"Your function changes {changed[0]}, which stays from one call to the next. Make it anew in each call."
        )
    return [slip for slip in found if slip]


def _names(tree: ast.AST) -> tuple[set[str], set[str]]:
    """Names that a function sets (or gets, or imports), and names that it uses."""
    nodes = list(ast.walk(tree))
    used = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    used |= {
        n.target.id
        for n in nodes
        if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)
    }
    own = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    own |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    own |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    own |= {(n.asname or n.name).split(".")[0] for n in nodes if isinstance(n, ast.alias)}
    return own, used


def _stray_name(tree: ast.AST) -> str | None:
    """A name that the function sets and never uses, while it uses one like it."""
    own, used = _names(tree)
    stored = {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    foreign = used - own - set(dir(builtins))
    for name in sorted(stored - used - {"_"}):
        near = nearest(name, foreign)
        if near:
            return f"Your function sets {name} and never uses it; it uses {near}, which it does not set."
        near = nearest(name, used & own)
        if near and _alike(name, near) >= _SAME_WORD:
            return f"Your function sets {name} and never uses it. Did you mean {near}?"
    return None


_SAME_WORD = 0.8


def _borrowed(tree: ast.AST, answer: object) -> str | None:
    """A value of the notebook's own, from another cell, that the function uses without setting it."""
    own, used = _names(tree)
    around = getattr(inspect.unwrap(answer), "__globals__", {}) if callable(answer) else {}
    for name in sorted(used - own - set(dir(builtins))):
        value = around.get(name)
        if value is not None and not callable(value) and not isinstance(value, types.ModuleType):
            return f"Your function uses {name} and does not set it: it finds the {name} of another cell."
    return None


def _nothing_back(tree: ast.AST) -> str | None:
    """`x = x.append(y)`: such methods change a list and give None back."""
    for node in ast.walk(tree):
        value = node.value if isinstance(node, ast.Assign | ast.Return) else None
        if (
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Attribute)
            and value.func.attr in ("append", "extend", "insert", "update")
        ):
            return f"`.{value.func.attr}` changes what stands before the dot, and gives nothing back (None)."
    return None


def kept(answer: object) -> dict[str, str]:
    """What a function finds again when it is called once more: of its defaults and of other cells."""
    code, function = code_of(answer), answer
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function) if callable(function) else function
    if code is None:
        return {}
    defaults = getattr(function, "__defaults__", None) or ()
    held: dict[str, Any] = dict(
        zip(
            code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount],
            defaults,
            strict=False,
        )
    )
    held |= getattr(function, "__kwdefaults__", None) or {}
    around = getattr(function, "__globals__", {})
    held |= {name: around[name] for name in code.co_names if name in around and name not in held}
    return {name: repr(value)[:_LOOKED] for name, value in held.items() if _small(value)}


def _small(value: object) -> bool:
    """A number, a list or an array that repr looks at in no time, with no `__repr__` of a learner's in it."""
    if type(value) in (list, dict, set):
        items = value.values() if isinstance(value, dict) else value
        return len(value) <= _MANY and all(type(item) in _SIMPLE for item in items)  # type: ignore[arg-type, attr-defined]
    shape = getattr(value, "shape", None) if type(value).__name__ in ("ndarray", "Tensor") else None
    return math.prod(shape) <= _MANY if shape is not None else type(value) in (int, float)


_SIMPLE = (int, float, str, bytes, bool, type(None))
_MANY, _LOOKED = 1_000, 20_000
