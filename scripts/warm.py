"""Run DVC, and notebooks without a kernel for each, in forks of one process that has imported the libraries.

`make smoke` has this in place of `dvc` and `papermill`. Stages, notebooks and parameters are those of a real
run; the start of a kernel and the imports, most of a stage at tiny sizes, fall away.

    python scripts/warm.py SOCKET                  wait at SOCKET for programs to run
    python scripts/warm.py SOCKET papermill …      as papermill …, in a fork of that process
    python scripts/warm.py SOCKET dvc …            as dvc …, likewise
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

LIBRARIES = ["IPython", "datasets", "dvc.cli", "dvc.commands.repro", "dvc.repo.reproduce", "papermill.cli"]
LIBRARIES += ["seaborn", "sklearn.cluster", "torch._dynamo"]
LIBRARIES += ["lmtx.curriculum", "lmtx.encoder.on_disk", "lmtx.report.figures", "lmtx.training"]


@contextmanager
def serving(address: Path, folder: Path, environment: dict[str, str]) -> Iterator[list[str]]:
    """Have a process at `address` with the library of `folder`; give the command that asks it."""
    command = [sys.executable, __file__, str(address)]
    environment = environment | {"PYTHONPATH": str(folder), "MPLBACKEND": "agg"}
    server = subprocess.Popen(command, cwd=folder, env=environment)
    while server.poll() is None and not address.exists():
        time.sleep(0.1)
    try:
        yield command
    finally:
        server.terminate()
        server.wait()


def ask(address: str, arguments: Sequence[str]) -> int:
    """Have the process at `address` run a program here, with this output; return the exit status."""
    with Client(address) as connection:
        connection.send((arguments, os.getcwd(), dict(os.environ)))
        with socket.socket(fileno=os.dup(connection.fileno())) as channel:
            socket.send_fds(channel, [b"-"], [1, 2])
        try:
            return connection.recv()
        except EOFError:  # the fork ended early
            return 1


def serve(address: str) -> None:
    """Run each program in a fork of this process, until this process is ended."""
    with Listener(address) as listener:
        for library in LIBRARIES:
            import_module(library)
        while True:
            connection = listener.accept()
            if os.fork() == 0:
                answer(connection, address)
                os._exit(0)
            connection.close()
            with suppress(ChildProcessError):  # let go of forks that have ended
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def answer(connection: Connection, address: str) -> None:
    """Run a program in the folder and the environment of who asks."""
    arguments, folder, environment = connection.recv()
    with socket.socket(fileno=os.dup(connection.fileno())) as channel:
        outputs = socket.recv_fds(channel, 1, 2)[1]
    for number, output in enumerate(outputs, 1):
        os.dup2(output, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    status = run(arguments, address)
    sys.stdout.flush()
    connection.send(status)


def run(arguments: Sequence[str], address: str) -> int:
    """Run `dvc` or `papermill`, the first argument, in this process; return the exit status.

    A notebook that a notebook runs first is asked for at `address`.
    """
    program, *arguments = arguments
    if program == "dvc":
        from dvc.cli import main

        return main(arguments)

    from IPython.core.interactiveshell import InteractiveShell
    from papermill.cli import papermill
    from papermill.engines import Engine, papermill_engines

    class Cells(Engine):
        """Runs the cells of one notebook in this process."""

        @classmethod
        def execute_managed_notebook(cls, notebook, kernel_name, **options):
            if InteractiveShell.initialized():
                prepared = notebook.nb.metadata.papermill["output_path"]
                if ask(address, ["papermill", prepared, prepared, "-k", kernel_name]):
                    raise RuntimeError(f"{prepared} does not run")
                return
            shell = InteractiveShell.instance(colors="nocolor")
            for cell in notebook.nb.cells:
                if cell.cell_type == "code":
                    shell.run_cell(cell.source).raise_error()

    papermill_engines.register(None, Cells)
    try:
        options = ["--no-progress-bar", "--log-level", "WARNING"]
        papermill([*arguments, *options], standalone_mode=False)
    except Exception:  # which IPython has shown
        return 1
    return 0


if __name__ == "__main__":
    address, *arguments = sys.argv[1:]
    sys.exit(ask(address, arguments) if arguments else serve(address))
