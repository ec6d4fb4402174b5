"""Start several processes that share one piece of work, each on a GPU or on a part of the processor's cores.

This module imports little: each of the processes runs it first.
"""

import codecs
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

VARIABLE = "LMTX_PROCESSES"


class ProcessError(RuntimeError):
    """Processes that cannot be started, or one that failed; the message says why."""


def wanted() -> int:
    """Return the number of processes that share heavy work: LMTX_PROCESSES, or 1 where it is not set.

    It is 1, too, in a process that `accelerate launch` started, which has its share already. Raises
    `ProcessError` when LMTX_PROCESSES is no whole number of at least 1.
    """
    if "LOCAL_RANK" in os.environ:
        return 1
    value = os.environ.get(VARIABLE, "").strip() or "1"
    if not (value.isascii() and value.isdigit() and int(value)):
        raise ProcessError(
            f"{VARIABLE} is {value!r}; set it to a whole number of at least 1, or unset it for one process"
        )
    return int(value)


def launch(function: Callable[..., None], *arguments, processes: int, device: "torch.device") -> None:
    """Call `function(*arguments)` in several fresh processes of this machine, and wait for all of them.

    They are fresh, as a notebook's kernel that has used its GPU cannot be forked. They import `function` from
    the top of its module; it writes its results to files. `arguments` are plain data that JSON can hold. With
    the `device` `cuda` each has a GPU, with `cpu` its share of this process's threads.

    Their output appears here. They end when this process does, however it ends. Raises `ProcessError` when
    there are fewer GPUs than processes, or a process fails; the others are then ended.
    """
    import torch

    if function.__module__ == "__main__" or "." in function.__qualname__:
        raise ProcessError(
            f"{function.__qualname__} cannot be imported by other processes; put it at the top of a module"
        )
    if device.type not in {"cpu", "cuda"}:
        raise ProcessError(f"several processes need CPUs or NVIDIA GPUs, not {device.type}; unset {VARIABLE}")
    if device.type == "cuda" and torch.cuda.device_count() < processes:
        raise ProcessError(
            f"{processes} processes need as many GPUs, and there are {torch.cuda.device_count()}; "
            f"lower {VARIABLE}"
        )
    settings = {  # all that a user's `accelerate config` could mean otherwise
        "num_machines": 1,
        "machine_rank": 0,
        "num_processes": processes,
        "num_cpu_threads_per_process": max(1, torch.get_num_threads() // processes),
        "gpu_ids": "all",
        "main_process_port": 0,  # a free one
        "mixed_precision": "no",  # an encoder knows its own
        "dynamo_backend": "no",
    }
    with tempfile.TemporaryDirectory(prefix="lmtx-launch-") as scratch:
        failure = Path(scratch) / "failure.txt"
        # Without --multi_gpu there would be one process, on CPUs too.
        command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
        command += [f"--{name}={value}" for name, value in settings.items()]
        command += ["-m", __name__, str(failure), f"{function.__module__}:{function.__name__}"]
        environment = {
            "TQDM_MININTERVAL": "2",  # seconds; each state of a bar is a line in an executed notebook
            **os.environ,
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        }
        with subprocess.Popen(
            [*command, json.dumps(arguments)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as running:
            last = _follow(running.stdout)
        if running.returncode:
            reason = failure.read_text(encoding="utf-8") if failure.is_file() else last
            raise ProcessError(
                f"{function.__name__} in {processes} processes ended with status {running.returncode}:\n"
                + "\n".join(reason.strip().splitlines()[-20:])
            )


def _follow(stream: BufferedReader) -> str:
    """Show the output of the processes as it comes, and return the end of it."""
    decode, last = codecs.getincrementaldecoder("utf-8")("replace").decode, ""
    while chunk := stream.read1():
        text = decode(chunk)
        sys.stderr.write(text)
        last = (last + text)[-4000:]
    return last


def _serve(failure: str, target: str, arguments: str) -> None:
    """Run the function in a launched process."""
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    module, name = target.split(":")
    try:
        getattr(import_module(module), name)(*json.loads(arguments))
        if "torch" in sys.modules:
            from torch import distributed

            if distributed.is_initialized():
                distributed.destroy_process_group()
    except Exception:
        # Report the first failure; the other processes then fail for lack of this one.
        with suppress(FileExistsError), open(failure, "x", encoding="utf-8") as file:
            file.write(f"process {os.environ['RANK']}: {traceback.format_exc()}")
        sys.exit(1)


def _end_with_launcher() -> None:
    """Wait for the end of standard input: a pipe, which closes when the process that called `launch` ends."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
