"""Start a script in several processes as torchrun does, all of them in this session: together.py COUNT SCRIPT ARGUMENT...

Linux may share its processor out by session (autogroup), and torchrun gives each process a session of its own: on a busy
machine two of them then get what two programs get, and a program with two threads gets what one gets.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys


def main() -> int:
    """All processes; the first exit code that is not 0, after which the others are ended."""
    count, command = int(sys.argv[1]), [sys.executable, *sys.argv[2:]]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    about = {name: str(value) for name, value in shared.items()}
    about |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "together"}  # pfl asks for that
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    running = [subprocess.Popen(command, env=os.environ | about | rank) for rank in ranks]
    while running:
        for process in running:
            try:
                code = process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
            running.remove(process)
            if code:
                for other in running:
                    other.kill()
                return code
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
