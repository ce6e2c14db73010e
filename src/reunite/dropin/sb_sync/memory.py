"""What the machine and this process have: memory, processors, disk, by psutil if it is installed.

The rule         a figure that nobody knows is None, never a guess.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

_MB = 1024 * 1024


class Machine(NamedTuple):
    """Percent that are taken; None for what is not known."""

    cpu_percent: float | None
    memory_percent: float | None
    disk_percent: float | None


def used_mb() -> float:
    """Megabytes of memory that this process has in use."""
    psutil = _psutil()
    if psutil is not None:
        return round(psutil.Process().memory_info().rss / _MB, 2)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / _MB, 2)
    except (OSError, ValueError, AttributeError):
        return _most_mb()


def machine(folder: Path) -> Machine:
    """How much of the machine is taken, and of the disk that this folder is on. Takes a tenth of a
    second where psutil measures the processors."""
    psutil = _psutil()
    cpu = psutil.cpu_percent(interval=0.1) if psutil is not None else _load_percent()
    disk = shutil.disk_usage(_there(folder))
    return Machine(
        cpu_percent=cpu,
        memory_percent=memory_percent(),
        disk_percent=round(100 * disk.used / disk.total, 1),
    )


def _psutil() -> Any:
    try:
        import psutil
    except ImportError:
        return None
    return psutil


def _most_mb() -> float:
    """The most that it ever had, where the system tells nothing else."""
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (_MB if sys.platform == "darwin" else 1024), 2)


def memory_percent() -> float | None:
    """How much of the machine's memory is taken."""
    psutil = _psutil()
    if psutil is not None:
        return float(psutil.virtual_memory().percent)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = {name: value.split()[0] for name, _, value in (line.partition(":") for line in lines)}
    total, available = int(found["MemTotal"]), int(found["MemAvailable"])
    return round(100 * (total - available) / total, 1)


def _load_percent() -> float | None:
    """Who waits for processors, as part of those that there are."""
    try:
        return round(100 * os.getloadavg()[0] / (os.cpu_count() or 1), 1)
    except (OSError, AttributeError):
        return None


def _there(folder: Path) -> Path:
    """The folder, or the first above it that exists."""
    folder = folder.absolute()
    return folder if folder.exists() else _there(folder.parent)
