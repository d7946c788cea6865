"""One at a time, and who is at work is named."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedkit.base.errors import Busy
from fedkit.base.locks import exclusive

HOLDER = """
import sys, time
from pathlib import Path
from fedkit.base.locks import exclusive

path = Path(sys.argv[1])
with exclusive(path, "is being used", at=path.parent):
    print("held", flush=True)
    time.sleep(60)
"""


def test_who_holds_it_is_named_and_it_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.lock"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            began = time.perf_counter()
            with (
                pytest.raises(Busy) as caught,
                exclusive(path, "is being used", at=tmp_path, timeout_s=0.1),
            ):
                pass
            assert time.perf_counter() - began >= 0.1
            assert caught.value.file == tmp_path
            assert caught.value.what == "is being used by another process"
            assert f"process {holder.pid} " in str(caught.value.why)
            assert caught.value.remedy
        finally:
            holder.kill()
            holder.wait(10)
    with exclusive(path, "is being used", at=tmp_path, timeout_s=10):
        pass


def test_an_error_inside_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with pytest.raises(ZeroDivisionError), exclusive(path, "is being used", at=tmp_path):
        _ = 1 // 0
    with exclusive(path, "is being used", at=tmp_path):
        pass


def test_a_holder_that_nobody_can_read_is_only_not_named(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with exclusive(path, "is being used", at=tmp_path):
        (tmp_path / "x.holder").write_text('{"process": [[')
        with pytest.raises(Busy) as caught, exclusive(path, "is being used", at=tmp_path):
            pass
    assert caught.value.why is None
