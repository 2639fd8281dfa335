"""Runs one command and writes what it took, as JSON, to the file descriptor named first.

A process of its own, and a small one, because Linux counts the memory of whoever starts
a program as that program's peak. Run it as `python -S -I launcher.py FD COMMAND…`.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    report, command = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(report, False)
    started = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    took = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
        "code": os.waitstatus_to_exitcode(status),
    }
    os.write(report, json.dumps(took).encode())


if __name__ == "__main__":
    main()
