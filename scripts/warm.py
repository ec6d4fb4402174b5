"""Run notebooks without a kernel for each: in forks of one process that has imported the libraries.

`make smoke` has this in place of `papermill`. Stages, notebooks and parameters are those of a real run; the
start of a kernel and the imports, most of a stage at tiny sizes, fall away.

    python scripts/warm.py SOCKET                     wait at SOCKET for notebooks
    python scripts/warm.py SOCKET INPUT OUTPUT …      as papermill INPUT OUTPUT …, in a fork of that process
"""

import os
import sys
from importlib import import_module
from multiprocessing.connection import Client, Listener

LIBRARIES = ["IPython", "datasets", "papermill.cli", "seaborn", "sklearn.cluster", "torch._dynamo"]
LIBRARIES += ["lmtx.curriculum", "lmtx.encoder.on_disk", "lmtx.report.figures", "lmtx.training"]


def ask(address: str, arguments: list[str]) -> int:
    """Have the process at `address` run a notebook; return the exit status."""
    with Client(address) as connection:
        connection.send(arguments)
        try:
            return connection.recv()
        except EOFError:  # the fork ended early
            return 1


def serve(address: str) -> None:
    """Run each notebook in a fork of this process, until this process is ended."""
    with Listener(address) as listener:
        for library in LIBRARIES:
            import_module(library)
        while True:
            connection = listener.accept()
            if os.fork() == 0:
                status = run(connection.recv())
                sys.stdout.flush()
                connection.send(status)
                os._exit(0)
            connection.close()


def run(arguments: list[str]) -> int:
    """Run a notebook in this process; return the exit status."""
    from IPython.core.interactiveshell import InteractiveShell
    from papermill.cli import papermill
    from papermill.engines import Engine, papermill_engines

    class Cells(Engine):
        """Runs cells in this process."""

        @classmethod
        def execute_managed_notebook(cls, notebook, kernel_name, **options):
            shell = InteractiveShell.instance()
            for cell in notebook.nb.cells:
                if cell.cell_type == "code":
                    shell.run_cell(cell.source).raise_error()

    papermill_engines.register("cells", Cells)
    try:
        options = ["--engine", "cells", "--no-progress-bar", "--log-level", "WARNING"]
        papermill([*arguments, *options], standalone_mode=False)
    except Exception:  # which IPython has shown
        return 1
    return 0


if __name__ == "__main__":
    address, *arguments = sys.argv[1:]
    sys.exit(ask(address, arguments) if arguments else serve(address))
