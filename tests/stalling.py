"""Work for launched processes that fails or waits. Imports next to nothing, so that it starts at once."""

import fcntl
import os
import sys
import time
from pathlib import Path


def wait(folder: str) -> None:
    """Wait for ten minutes, holding a lock that the system lets go when the process ends."""
    rank = os.environ["RANK"]
    with open(Path(folder) / f"{rank}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (Path(folder) / f"{rank}.ready").touch()
        time.sleep(600)


def fail_in_the_second(folder: str, reason: str) -> None:
    """The second process fails once the first one waits for it."""
    if os.environ["RANK"] == "0":
        wait(folder)
    while not (Path(folder) / "0.ready").exists():
        time.sleep(0.01)
    raise ValueError(reason)


def die() -> None:
    """End as a process does that the system kills: without a word of its own."""
    print("the last words before it", file=sys.stderr, flush=True)
    os._exit(9)
