"""How a command ends: with complete lines, an exit status, and an error as one line."""

import argparse
import os
import signal
import sys
from collections.abc import Callable


def status(run: Callable[[argparse.Namespace], int | None], options: argparse.Namespace) -> int:
    """Run a command; return its exit status, and write an error as a line instead of a traceback.

    The status is 130 after Ctrl-C, 1 after an error, and 0 where nobody reads the output any more.
    `options.debug` keeps the traceback.
    """
    if sys.stderr is None:  # `print` would take standard output for it
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    try:
        code = run(options) or 0
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read our output has seen enough
        _drop_output()
        return 0
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would be a trace
        _drop_output()
        print("lmtx: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if options.debug:
            raise
        _drop_output()
        print(f"lmtx: {_sentence(error)}", file=sys.stderr)
        return 1


def _drop_output() -> None:
    """Write out complete lines; where that fails, make sure that Python does not try again at its end."""
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _sentence(error: Exception) -> str:
    """The message of an error; one that is none of ours, and no fault of the system, is a bug."""
    if isinstance(error, OSError) or type(error).__module__.startswith("lmtx."):
        return str(error)
    first = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {first}; this is a fault of the program, and --debug shows where"
