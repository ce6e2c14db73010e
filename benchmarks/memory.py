"""Memory: the most that a process has held, as the kernel counts it (Linux)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.hub_process import ROOT

_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def peak_mb(pid: int | str = "self") -> float | None:
    """Peak resident memory in megabytes; None where there is no /proc.

    Not `ru_maxrss`: that begins with what the parent held when it started the process.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = _PEAK.search(status)
    return int(found[1]) * 1024 / 1e6 if found else None


def peak_mb_of_clone(path: Path, url: str, token: str) -> float | None:
    """Clone in a process of its own, so that nothing of the measuring one is counted."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", str(path.resolve()), url, token],
        stdout=subprocess.PIPE,
        check=True,
        cwd=ROOT,
        text=True,
    )
    return float(done.stdout) if done.stdout.strip() else None


def main() -> None:
    """Clone, and print the peak in megabytes."""
    from reunite import Replica

    path, url, token = sys.argv[1:]
    Replica.clone(path, url, token=token).close()
    print(peak_mb() or "")


if __name__ == "__main__":
    main()
