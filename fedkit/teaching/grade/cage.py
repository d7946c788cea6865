"""A cage for a learner's code: this process can only compute any more, and only so much.

On Linux (x86-64, aarch64) a filter of system calls, which needs no rights and can't be taken off again: what computing
takes is allowed, and nothing else. So there are no sockets, no other process or program, no signal to another one, no file
opened for writing or changed in another way, nobody else's memory. Where the kernel has Landlock (5.13 and later), files
are read only where Python, its libraries and the course lie. Elsewhere there are limits of time, memory and processes
alone, and `enter` says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
import sys
from pathlib import Path
from typing import Any

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

# each call with its number on x86-64 and on aarch64; - where there is none
_COMPUTES = """
read 0 63, write 1 64, close 3 57, fstat 5 80, newfstatat 262 79, stat 4 -, lstat 6 -, statx 332 291,
lseek 8 62, mmap 9 222, mprotect 10 226, munmap 11 215, brk 12 214, mremap 25 216, madvise 28 233,
mincore 27 232, msync 26 227, rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139,
rt_sigpending 127 136, sigaltstack 131 132, pread64 17 67, readv 19 65, preadv 295 69, access 21 -,
faccessat 269 48, faccessat2 439 439, writev 20 66, pipe 22 -, pipe2 293 59, select 23 -, pselect6 270 72,
poll 7 -, ppoll 271 73, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22,
eventfd2 290 19, timerfd_create 283 85, timerfd_settime 286 86, sched_yield 24 124, sched_getaffinity 204 123,
sched_getparam 143 121, sched_getscheduler 145 120, sched_get_priority_max 146 125,
sched_get_priority_min 147 126, dup 32 23, dup2 33 -, dup3 292 24, nanosleep 35 101, clock_nanosleep 230 115,
getitimer 36 102, setitimer 38 103, alarm 37 -, getpid 39 172, gettid 186 178, getppid 110 173,
getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177, getgroups 115 158, getresuid 118 148,
getresgid 120 150, getpgid 121 155, getpgrp 111 -, getsid 124 156, uname 63 160, getcwd 79 17, chdir 80 49,
fchdir 81 50, readlink 89 -, readlinkat 267 78, getdents 78 -, getdents64 217 61, getrandom 318 278,
time 201 -, gettimeofday 96 169, clock_gettime 228 113, clock_getres 229 114, times 100 153, getrusage 98 165,
getpriority 140 141, sysinfo 99 179, getrlimit 97 163, arch_prctl 158 -, futex 202 98, set_robust_list 273 99,
get_robust_list 274 100, set_tid_address 218 96, rseq 334 293, restart_syscall 219 128, exit 60 93,
exit_group 231 94, wait4 61 260, waitid 247 95, membarrier 324 283, get_mempolicy 239 236, mbind 237 235,
set_mempolicy 238 237, getcpu 309 168, statfs 137 43, fstatfs 138 44, fadvise64 221 223, umask 95 166,
prctl 157 167
"""
_REFUSED = """
socket 41 198, socketpair 53 199, connect 42 203, bind 49 200, fork 57 -, vfork 58 -, execve 59 221, execveat 322 281,
kill 62 129, tkill 200 130, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240, pidfd_send_signal 424 424, ptrace 101 117,
process_vm_readv 310 270, process_vm_writev 311 271, setsid 112 157, setpgid 109 154, setrlimit 160 164, unlink 87 -,
unlinkat 263 35, rename 82 -, renameat 264 38, renameat2 316 276, mkdir 83 -, mkdirat 258 34, rmdir 84 -, link 86 -,
linkat 265 37, symlink 88 -, symlinkat 266 36, creat 85 -, mknod 133 -, mknodat 259 33, truncate 76 45, chmod 90 -,
fchmod 91 52, fchmodat 268 53, chown 92 -, fchown 93 55, fchownat 260 54, utimensat 280 88
"""
"""What people try is refused by name, as PermissionError. What stands in no list, the system says it does not have."""


def _numbers(table: str, column: int) -> list[int]:
    calls = (entry.split()[1 + column] for entry in table.split(","))
    return [int(number) for number in calls if number != "-"]


_FLAGS_OF, _TERMINAL = (0, 1, 2, 3, 4, 1030), (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""What is asked of an open file: flags and copies of it (nobody else is sent a signal), is it a terminal, how wide."""
_RULES, _LIST = 444, 0b1000  # Landlock's first call, the same on every machine; to list a folder
_READ = 0b0100 | _LIST
_SYSTEM = """
/etc/ld.so.cache /etc/localtime /sys/devices/system /proc/cpuinfo /proc/meminfo /proc/stat /proc/self /proc/sys/vm
/dev/null /dev/zero /dev/urandom
"""
_MACHINES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}


def enter(memory: int = MAX_MEMORY) -> list[str]:
    """Close the cage around this process. Returns what could not be forbidden here, in words; nothing is undone."""
    left = _limits(memory)
    try:
        _keep_from_reading()
    except (OSError, AttributeError):
        left.append("a learner's code can read here what you can read, and a reason may quote it")
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

    given = Program(len(program) // 8, program)
    _asked("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _asked("syscall", seccomp, _SET_FILTER, _ALL_THREADS, ctypes.byref(given))


def _asked(function: str, *arguments: Any) -> int:
    """What the C library's function answers. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = int(getattr(libc, function)(*arguments))
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer


def _keep_from_reading() -> None:
    """No file is read any more but where Python, its libraries and the course lie. Raises OSError without Landlock."""
    if sys.platform != "linux":
        raise OSError("no Landlock")
    places = dict.fromkeys(
        [sys.prefix, sys.base_prefix, "/lib", "/lib64", "/usr", *_SYSTEM.split()], _READ
    )
    for place in map(Path, filter(None, sys.path)):
        inner = [place]
        if (
            place / "pyproject.toml"
        ).is_file():  # a clone of the course, and whatever lies beside it
            inner = [place / "fedkit", place / "data"]
            places[str(place)] = _LIST
        places |= dict.fromkeys(map(str, inner), _READ)
    places[os.environ.get("HOME", "")] = _READ  # of the judge, a scratch folder
    rules = _asked("syscall", _RULES, ctypes.byref(ctypes.c_uint64(_READ)), 8, 0)
    try:
        for where, may in places.items():
            with contextlib.suppress(FileNotFoundError):
                number = os.open(where, os.O_PATH)
                allowed = may if Path(where).is_dir() else may & ~_LIST
                rule = struct.pack("=Qi", allowed, number)
                _asked("syscall", _RULES + 1, rules, 1, rule, 0)
                os.close(number)
        _asked("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        _asked("syscall", _RULES + 2, rules, 0)
    finally:
        os.close(rules)


def _program(column: int, machine: int) -> bytes:
    """The filter as instructions of BPF: (code, jump if true, jump if false, value)."""
    load, equal, any_of, end = 0x20, 0x15, 0x45, 0x06
    steps: list[tuple[int, int, int, int]] = [
        (load, 0, 0, 4),  # the machine whose numbers these are: a call by another one's is refused
        (equal, 1, 0, machine),
        (end, 0, 0, _REFUSE),
        (load, 0, 0, 0),  # the number of the call; those of x32 stand in no list
    ]
    for table, answer in ((_COMPUTES, _ALLOW), (_REFUSED, _REFUSE)):
        for number in _numbers(table, column):
            steps += [(equal, 0, 1, number), (end, 0, 0, answer)]
    # call, argument, its halves, how they are compared, with what, the answer where one is met, and where none is
    low, both = (0,), (0, 4)
    for numbers, argument, halves, compare, values, met, else_ in (
        ((2, 0), 1, low, any_of, (_WRITES,), _REFUSE, _ALLOW),  # open
        ((257, 56), 2, low, any_of, (_WRITES,), _REFUSE, _ALLOW),  # openat
        ((56, 220), 0, low, any_of, (_THREAD,), _ALLOW, _REFUSE),  # clone
        (
            (302, 261),
            2,
            both,
            any_of,
            (0xFFFFFFFF,),
            _REFUSE,
            _ALLOW,
        ),  # prlimit64: reading is no change
        ((234, 131), 0, low, equal, (os.getpid(),), _ALLOW, _REFUSE),  # tgkill, of itself
        ((72, 25), 1, low, equal, _FLAGS_OF, _ALLOW, _REFUSE),  # fcntl
        ((16, 29), 1, low, equal, _TERMINAL, _ALLOW, _REFUSE),  # ioctl
    ):
        if number := numbers[column]:
            tests = [(half, value) for half in halves for value in values]
            steps.append((equal, 0, 3 * len(tests) + 1, number))
            for half, value in tests:  # 16 + 8 n: the low half of the n-th argument
                steps += [(load, 0, 0, 16 + 8 * argument + half), (compare, 0, 1, value)]
                steps.append((end, 0, 0, met))
            steps.append((end, 0, 0, else_))
    steps.append((end, 0, 0, _NO_SUCH))  # clone3 too: the C library asks clone instead
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
