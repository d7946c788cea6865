"""A `model.py` is run as an import runs a module: with a name, a file, source that `inspect` finds; and builds its model.

What an import would leave behind is put back: random numbers, the working folder, and whatever it sets for all of torch. A
model that can't be trained anywhere, averaged or sent is refused as soon as it is built, with what to write in its place.
"""

from __future__ import annotations

import inspect
import linecache
import os
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fedkit.base.errors import FedkitError
from fedkit.base.files import sha256_bytes
from fedkit.base.timer import after

__all__ = ["ITS_ERRORS", "built", "not_in_silence", "raised", "source_text"]


ITS_ERRORS = (Exception, SystemExit)
"""What a model's code may raise: a script's own exit() must not end the process that looks at it."""


def source_text(source: bytes | str, file: Path | str = "model.py") -> str:
    """The text of a model.py, without the mark that some editors put before it. Raises FedkitError where it is no UTF-8."""
    try:
        text = source.decode() if isinstance(source, bytes) else source
    except UnicodeDecodeError as error:
        at = source[: error.start].count(b"\n") + 1 if isinstance(source, bytes) else 1
        raise FedkitError(
            f"is no UTF-8 text (line {at})", file=file, remedy="save it as UTF-8 in your editor"
        ) from error
    return text.removeprefix("\ufeff")


def built(source: bytes | str, class_name: str, file: Path | str) -> nn.Module:
    """Run the source and build `class_name()`. Raises FedkitError, of `file`."""
    with _python_kept():
        return _built(source, class_name, file)


@contextmanager
def _python_kept() -> Iterator[None]:
    """The working folder, where modules are looked for, and which warnings are shown are after the block what they were."""
    path, filters, folder = list(sys.path), list(warnings.filters), None
    with suppress(OSError):  # a folder that is gone
        folder = Path.cwd()
    try:
        yield
    finally:
        with suppress(OSError):
            if folder is not None and Path.cwd() != folder:
                os.chdir(folder)
        sys.path[:] = path
        if list(warnings.filters) != filters:
            warnings.resetwarnings()  # and forget what was decided by the others
            warnings.filters[:] = filters  # type: ignore[index]


def _built(source: bytes | str, class_name: str, file: Path | str) -> nn.Module:
    module = _imported(source_text(source, file), file)
    kind = getattr(module, class_name, None)
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise FedkitError(
            f"defines no class {class_name} that is an nn.Module",
            file=file,
            field="model_class_name",
            remedy=f"define `class {class_name}(nn.Module)` in it",
        )
    try:
        inspect.signature(kind).bind()
    except TypeError as error:
        raise FedkitError(
            f"{class_name}() needs arguments ({error})",
            file=file,
            remedy="give every argument of its constructor a default",
        ) from error
    try:
        model = kind()
        wrong = _no_model_to_send(model)
    except ITS_ERRORS as error:
        raise raised(file, f"{class_name}() raises an error", error) from error
    if wrong is not None:
        raise FedkitError(f"{class_name} {wrong[0]}", file=file, why=wrong[1], remedy=wrong[2])
    return model


def _imported(text: str, file: Path | str) -> types.ModuleType:
    """The module, known to Python under a name of its own, as dataclasses and `inspect` need it.

    One name a source and thread: threads that train with the same file at the same time have a module each.
    """
    name = (
        f"fedkit_model_{sha256_bytes(text.encode(errors='replace'))[:12]}_{threading.get_ident()}"
    )
    module = types.ModuleType(name)
    module.__file__, module.__spec__ = str(file), ModuleSpec(name, None, origin=str(file))
    # no time: it stands for what runs, whatever lies on the disk
    linecache.cache[str(file)] = (len(text), None, text.splitlines(keepends=True), str(file))
    before, sys.modules[name] = sys.modules.get(name), module
    try:
        exec(compile(text, str(file), "exec"), module.__dict__)
    except ITS_ERRORS as error:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        if isinstance(error, SyntaxError) and error.filename == str(file):
            raise FedkitError(
                f"has a syntax error in line {error.lineno}: {error.msg}",
                file=file,
                remedy="correct that line and launch again",
            ) from error
        raise raised(file, "raises an error while it loads", error) from error
    return module


def raised(file: Path | str, what: str, error: BaseException) -> FedkitError:
    """What the model's own code raised, with the innermost line of its file that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    line = next((f.lineno for f in reversed(frames) if f.filename == str(file)), None)
    remedy = "try it in a notebook cell of your own first"
    if isinstance(error, ModuleNotFoundError):
        remedy = f"write it without {error.name}: model.py alone is sent, to people who have torch"
    elif isinstance(error, ImportError) and "relative import" in str(error):
        remedy = "put what is imported from the file beside it into model.py, which alone is sent"
    return FedkitError(
        f"{what}: {type(error).__name__}: {error}" + (f" (line {line})" if line else ""),
        file=file,
        remedy=remedy,
    )


_PATIENCE_S = 20.0


@contextmanager
def not_in_silence(
    file: Path | str = "model.py", patience_s: float | None = None
) -> Iterator[None]:
    """While a block runs a model's code: a warning after some seconds that says where it is, perhaps in an endless loop."""
    here = threading.get_ident()

    def tell() -> None:
        frame = sys._current_frames().get(here)
        while frame is not None and frame.f_code.co_filename != str(file):
            frame = frame.f_back
        where = f" (line {frame.f_lineno})" if frame is not None else ""
        warnings.warn(
            f"{file} has run for {waits:.0f} s and has not built or tried its model yet{where} -> "
            "wait if it is a large one; if it is an endless loop, stop the cell or press Ctrl-C, and correct it",
            UserWarning,
            stacklevel=1,
        )

    waits = _PATIENCE_S if patience_s is None else patience_s
    with after(waits, tell):
        yield


Wrong = tuple[str, str | None, str]
"""What is wrong with a model, why, and what to do."""


def _no_model_to_send(model: nn.Module) -> Wrong | None:
    """Why a state dict of this model can't be what datasites send each other; None where it can."""
    for place, layer in model.named_modules():
        called = f"{type(layer).__name__}{f' ({place})' if place else ''}"
        if any(is_lazy(value) for value in _own(layer)):
            plain = type(layer).__name__.removeprefix("Lazy")
            return (
                f"has a layer without a size yet, {called}",
                "Its weights exist only after a first batch, and everybody must start from the same ones",
                f"write nn.{plain} with its sizes in place of nn.{type(layer).__name__}",
            )
        if type(layer).get_extra_state is not nn.Module.get_extra_state:
            return (
                f"keeps an extra state: get_extra_state of {called}",
                "Datasites send each other tensors by name and nothing else, so that no stranger's code runs",
                "keep it in a buffer, self.register_buffer(name, tensor), and leave get_extra_state out",
            )
    if model.train() is not model or model.eval() is not model:
        return (
            "has a train() or eval() that does not return the model",
            "torch's own do, and whoever trains it goes on with what they return",
            "end train(self, mode=True) with `return self`",
        )
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            return (
                f"has a state dict with a {type(value).__name__} in it: {name}",
                "Datasites send each other tensors by name and nothing else",
                "write ordinary layers of torch.nn; quantised ones, for one, can't be trained",
            )
        if value.is_complex():
            return (
                f"holds complex numbers: {name}",
                "Updates are sums and differences of real numbers, and so are clipping, noise and masks",
                "keep torch.view_as_real of it, and write torch.view_as_complex in forward()",
            )
        if not _is_plain(value.detach()):
            return (
                f"holds no plain tensor: {name}",
                "Datasites send each other dense tensors of torch's own kind and nothing else",
                "write it as an ordinary, dense one; a constant can stay as it is with "
                "register_buffer(name, tensor, persistent=False): then everybody makes it, and nobody sends it",
            )
    return None


def _is_plain(value: Tensor) -> bool:
    odd = value.is_nested or value.is_quantized or value.is_meta or value.layout != torch.strided
    return type(value) is Tensor and not odd


def _own(layer: nn.Module) -> Iterator[Any]:
    yield from layer._parameters.values()
    yield from layer._buffers.values()
