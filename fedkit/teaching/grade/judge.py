"""The judge of one notebook: the course's own checks, on values that come out of a learner's process.

No line of the learner's runs here. A function of the learner's is a stand-in that asks the other process; what that
changed in its arguments is changed here too, and a gradient of a single number comes along.

Run as `python -m fedkit.teaching.grade.judge`, with a brief as JSON on stdin; a line of JSON for each verdict on stdout.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import io
import json
import linecache
import os
import pickle
import subprocess
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

from fedkit.experiments.side_by_side import same_python
from fedkit.teaching.check.attempt import Unfinished, Wrong
from fedkit.teaching.check.base import REGISTRY
from fedkit.teaching.grade.learner import run_course
from fedkit.teaching.grade.wire import Cut, changeable, read_frame, unpack

__all__ = ["judge"]


MAX_SAID = 2_000  # characters of a reason, which may quote the learner's process
START_S = 300.0
"""Seconds for the course's own cells; those for the learner's definitions, and for a call, stand in the brief."""


class _Learner:
    """The other process: started when it is needed, and again when it had to be ended."""

    def __init__(self, context: list[str], memory: int, patience_s: float) -> None:
        self.context, self.memory, self.patience_s = context, memory, patience_s
        self.process: subprocess.Popen[bytes] | None = None
        self.left: list[str] = []

    def ask(self, *what: object) -> tuple[Any, bytes]:
        """Raises Cut, and the process is gone then."""
        if self.process is None:
            command = [sys.executable, "-m", "fedkit.teaching.grade.learner", str(self.memory)]
            pipes = {
                "stdin": subprocess.PIPE,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.DEVNULL,
            }
            self.process = subprocess.Popen(command, env=os.environ | same_python(), **pipes)  # type: ignore[call-overload]
            (kind, *rest), _ = self._exchange(self.context, START_S)
            if kind != "ready":
                self.end()
                raise Cut(f"the course's own cells stopped with {rest[0]}: {rest[1]}")
            self.left = [str(text) for text in rest[0]]
        return self._exchange(what, self.patience_s)

    def _exchange(self, what: object, seconds: float) -> tuple[Any, bytes]:
        process = self.process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(pickle.dumps(what))
            process.stdin.flush()
            return read_frame(process.stdout.fileno(), seconds)
        except (Cut, BrokenPipeError) as error:
            said = str(error)
            if said == "time":
                said = f"it did not come back within {seconds:g} s: is there a loop without an end?"
            elif not isinstance(error, Cut) or said == "ended":
                code = process.wait(timeout=5) if process.poll() is None else process.returncode
                said = f"its process ended (exit code {code}); too much memory, or a way out of Python?"
            self.end()
            raise Cut(said) from None

    def end(self) -> None:
        """End the process; the next question starts another one."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
            self.process = None


def judge(brief: Mapping[str, Any], tell: Callable[[Mapping[str, Any]], object]) -> None:
    """Judge each exercise of a brief of `rerun.brief`; `tell` gets each verdict, and what could not be forbidden."""
    importlib.import_module(
        f"fedkit.teaching.check.lesson_{brief['lesson'][:2]}"
    )  # registers its checks
    names: dict[str, Any] = {"__name__": "__main__"}
    trouble = run_course(brief["course"], names)
    learner = _Learner(list(brief["context"]), int(brief["memory"]), brief["patience_s"])
    told = False
    try:
        for exercise in brief["exercises"]:
            state, reason = _verdict(exercise, names, learner, trouble)
            tell({"name": exercise["name"], "state": state, "reason": reason[:MAX_SAID]})
            if learner.left and not told:
                tell({"left": learner.left})
                told = True
    finally:
        learner.end()


def _verdict(
    exercise: Mapping[str, Any], names: dict[str, Any], learner: _Learner, trouble: str
) -> tuple[str, str]:
    texts = {f"{exercise['name']}_{n}": text for n, text in enumerate(exercise["statements"])}
    stand_in = functools.partial(_stand_in, learner, texts)
    answers = [text for text, theirs in exercise["arguments"] if theirs]
    try:
        reply, blob = learner.ask("define", exercise["name"], list(texts.values()), answers)
        if reply[0] == "raised":
            return "try again", f"Your code stops with {reply[1]}: {reply[2]}."
        if reply[0] != "values" or len(reply[1]) != len(answers):
            raise Cut("its answer can't be read")
        given = iter([unpack(form, blob, stand_in) for form in reply[1]])
    except Cut as cut:
        return "try again", f"Your code was stopped: {cut}"
    try:
        arguments = [
            next(given) if theirs else eval(text, names) for text, theirs in exercise["arguments"]
        ]
    except Exception as error:
        why = trouble or f"{type(error).__name__}: {error}"
        return "not judged", f"the course's own cells stopped with {why}"
    result = REGISTRY[exercise["name"]](*arguments)
    return result.state, result.message


def _stand_in(learner: _Learner, texts: Mapping[str, str], form: list[Any]) -> Callable[..., Any]:
    number, file, name = int(form[0]), str(form[1]), str(form[2])

    def asked(*arguments: Any, **named: Any) -> Any:
        try:
            reply, blob = learner.ask("call", number, arguments, named)
            if reply[0] == "raised":
                kind, said, line = (str(part) for part in reply[1:4])
                if kind == "NotImplementedError" and ": raise" in line:  # not torch's own
                    raise Unfinished
                where = f" ({line})" if line else ""
                raise Wrong(f"Your code stops with {kind}{': ' if said else ''}{said}{where}.")
            _, value, changed, slopes = reply
            parts = list(changeable(arguments))
            for place, now in changed:
                _put_back(parts[place], unpack(now, blob, _no_function))
            found = unpack(value, blob, functools.partial(_stand_in, learner, texts))
            if slopes is None:
                return found
            leaves = [part for part in parts if getattr(part, "requires_grad", False)]
            return _with_gradient(found, leaves, [unpack(s, blob, _no_function) for s in slopes])
        except Cut as cut:
            raise Wrong(f"Your function was stopped: {cut}") from None
        except NotImplementedError:  # a stub, and a kind of RuntimeError
            raise
        except (ValueError, TypeError, IndexError, RuntimeError) as error:
            raise Wrong(f"What came back can't be read ({type(error).__name__}).") from None

    asked.__name__ = name
    asked.elsewhere = True  # type: ignore[attr-defined]
    shell = _shell(texts.get(file, ""), file, name)
    if shell is not None:
        asked.__wrapped__ = shell  # type: ignore[attr-defined]
    return asked


def _no_function(form: list[Any]) -> Any:
    raise Cut("its answer can't be read")


def _shell(text: str, file: str, name: str) -> types.FunctionType | None:
    """The learner's function as a text that a check may read; it is never called."""
    try:
        whole = compile(text, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    codes = [part for part in whole.co_consts if isinstance(part, types.CodeType)]
    code = next((part for part in codes if part.co_name == name), None)
    if code is None or code.co_freevars:
        return None
    made = types.FunctionType(code, {}, name)
    node = next((n for n in ast.parse(text).body if getattr(n, "name", None) == name), None)
    if isinstance(node, ast.FunctionDef):  # which may be left out, not what they are then
        made.__defaults__ = (None,) * len(node.args.defaults)
        pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        made.__kwdefaults__ = {one.arg: None for one, value in pairs if value is not None}
    return made


def _put_back(part: Any, now: Any) -> None:
    import torch

    if isinstance(part, torch.Generator):
        part.set_state(now)
    elif isinstance(part, torch.Tensor):
        with torch.no_grad():
            part.copy_(now)
    else:
        part[...] = now


def _with_gradient(value: Any, leaves: list[Any], slopes: list[Any]) -> Any:
    """A number with the gradient that the learner's computation has."""
    import torch

    class Known(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, *_: Any) -> Any:
            return value.clone()

        @staticmethod
        def backward(context: Any, *upstream: Any) -> Any:
            return tuple(None if s is None else s * upstream[0].sum() for s in slopes)

    return Known.apply(*leaves)


def main() -> None:
    """Read the brief, judge, tell."""
    brief = json.load(sys.stdin)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with contextlib.redirect_stdout(io.StringIO()):
        judge(brief, lambda verdict: print(json.dumps(verdict), file=out, flush=True))


if __name__ == "__main__":
    main()
