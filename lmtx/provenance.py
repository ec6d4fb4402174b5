"""The origin of a result: run time, machine, versions of packages and code."""

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("lmtx", "torch", "transformers", "sentence-transformers", "faiss-cpu", "scikit-learn", "numpy")


class Clock:
    """Wall time by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}  # of each step, in the order of the steps

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Add the time of the block to `step`."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] = round(self.seconds.get(step, 0.0) + time.monotonic() - started, 3)


@cache
def host() -> dict:
    """Describe the machine: processor, cores, memory in GiB, GPU (None without one), Python, system."""
    import torch

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


@cache
def versions() -> dict[str, str]:
    """Return the versions of the packages that affect results."""
    return {package: version(package) for package in _PACKAGES}


def commit() -> str | None:
    """Return the commit of this code, with "+" if files differ from it; None outside a git repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.check_output([*git, "rev-parse", "--short=10", "HEAD"], stderr=subprocess.DEVNULL)
        changed = subprocess.check_output([*git, "status", "--porcelain", "--", ".", "../notebooks"])
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.decode().strip() + ("+" if changed.strip() else "")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
