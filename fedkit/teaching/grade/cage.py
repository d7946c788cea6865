"""A cage for a learner's code: this process can only compute any more, and only so much.

On Linux (x86-64, aarch64) a filter of system calls, which needs no rights and can't be taken off again: no sockets, no
other process or program, no file opened for writing, nobody else's memory. Elsewhere there are limits of time, memory and
processes alone, and `enter` says so.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

__all__ = ["MAX_MEMORY", "enter"]


MAX_MEMORY = 4 * 2**30
"""Bytes of address space; torch alone takes more than one GiB."""
MAX_CPU_S = 600
MAX_PROCESSES = 64

_ALLOW, _REFUSE, _NO_SUCH = (
    0x7FFF0000,
    0x00050000 | 1,
    0x00050000 | 38,
)  # errno 1: EPERM, 38: ENOSYS
_NO_NEW_PRIVILEGES, _SET_FILTER, _ALL_THREADS = 38, 1, 1
_WRITES = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000  # O_WRONLY O_RDWR O_CREAT O_TRUNC O_APPEND
_THREAD = 0x10000  # CLONE_THREAD

# each call with its number on x86-64 and on aarch64; 0 where there is none
_TABLE = """
socket 41 198, socketpair 53 199, connect 42 203, bind 49 200, fork 57 0, vfork 58 0,
execve 59 221, execveat 322 281, kill 62 129, tkill 200 130, ptrace 101 117,
setsid 112 157, process_vm_readv 310 270, process_vm_writev 311 271, pidfd_open 434 434,
unlink 87 0, unlinkat 263 35, rename 82 0, renameat 264 38, renameat2 316 276, mkdir 83 0,
mkdirat 258 34, rmdir 84 0, link 86 0, linkat 265 37, symlink 88 0, symlinkat 266 36,
creat 85 0, mknod 133 0, mknodat 259 33, truncate 76 45, chmod 90 0, fchmodat 268 53,
chown 92 0, fchownat 260 54, mount 165 40, unshare 272 97, setns 308 268, bpf 321 280,
setrlimit 160 164, setpriority 141 140, openat2 437 437, io_uring_setup 425 425,
setxattr 188 5, utimensat 280 88
"""
_CALLS = {
    name: (int(here), int(there))
    for name, here, there in (entry.split() for entry in _TABLE.split(","))
}
_OPEN, _OPENAT, _CLONE, _CLONE3 = (2, 0), (257, 56), (56, 220), (435, 435)
_PRLIMIT = (302, 261)
_MACHINES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}


def enter(memory: int = MAX_MEMORY) -> list[str]:
    """Close the cage around this process. Returns what could not be forbidden here, in words; nothing is undone."""
    left = _limits(memory)
    try:
        _filter()
    except (OSError, AttributeError, KeyError) as error:
        why = f"{type(error).__name__}: {error}" if sys.platform == "linux" else platform.system()
        left.append(
            f"the network, other programs and writing files could not be forbidden here ({why})"
        )
    return left


def _limits(memory: int) -> list[str]:
    try:
        import resource
    except ImportError:
        return ["memory and processes could not be bounded here (no limits on this system)"]
    wanted = {"RLIMIT_AS": memory, "RLIMIT_CPU": MAX_CPU_S, "RLIMIT_CORE": 0, "RLIMIT_FSIZE": 2**20}
    left = []
    for name, value in (wanted | {"RLIMIT_NPROC": MAX_PROCESSES}).items():
        try:
            number = getattr(resource, name)
            hard = resource.getrlimit(number)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (most, most))
        except (OSError, ValueError, AttributeError):
            left.append(f"{name} could not be set here")
    return left


def _filter() -> None:
    """Load the filter. Raises OSError, KeyError where the system has none or this machine's numbers are not known."""
    if sys.platform != "linux":
        raise OSError("no filter of system calls")
    column, machine, seccomp = _MACHINES[platform.machine()]
    program = _program(column, machine)

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    given = Program(len(program) // 8, program)
    if libc.syscall(seccomp, _SET_FILTER, _ALL_THREADS, ctypes.byref(given)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _program(column: int, machine: int) -> bytes:
    """The filter as instructions of BPF: (code, jump if true, jump if false, value)."""
    load, equal, any_of, end = 0x20, 0x15, 0x45, 0x06
    steps: list[tuple[int, int, int, int]] = [
        (load, 0, 0, 4),  # the machine whose numbers these are: a call by another one's is refused
        (equal, 1, 0, machine),
        (end, 0, 0, _REFUSE),
        (load, 0, 0, 0),  # the number of the call
    ]
    for numbers in _CALLS.values():
        if number := numbers[column]:
            steps += [(equal, 0, 1, number), (end, 0, 0, _REFUSE)]
    steps += [
        (equal, 0, 1, _CLONE3[column]),
        (end, 0, 0, _NO_SUCH),
    ]  # the C library asks clone instead
    # 16 + 8 n: the low half of the n-th argument
    for numbers, argument, wanted, refuse in (
        (_OPEN, 1, _WRITES, True),
        (_OPENAT, 2, _WRITES, True),
        (_CLONE, 0, _THREAD, False),
        (_PRLIMIT, 2, 0xFFFFFFFF, True),  # reading a limit is no change of it
    ):
        if number := numbers[column]:
            on_match, else_ = (_REFUSE, _ALLOW) if refuse else (_ALLOW, _REFUSE)
            steps += [
                (equal, 0, 4, number),
                (load, 0, 0, 16 + 8 * argument),
                (any_of, 0, 1, wanted),
                (end, 0, 0, on_match),
                (end, 0, 0, else_),
            ]
    if column == 0:
        steps.insert(
            4, (0x35, 0, 1, 0x40000000)
        )  # numbers of x32, which would go around the filter
        steps.insert(5, (end, 0, 0, _REFUSE))
    steps.append((end, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
