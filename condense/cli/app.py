"""Running a command: exit codes, one-line errors, signals."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn

from condense.cli.ranks import first_speaks, launched
from condense.distribution import DISTRIBUTION, __version__
from condense.errors import UserError, one_line, unknown
from condense.runs.io import FULL, WriteError
from condense.runs.report import indented, text_table
from condense.runs.run_dir import Interrupted
from condense.system.allocator import keep_freed_memory
from condense.system.openmp import bound_spinning
from condense.system.scripts import as_started, resume_command
from condense.system.terminal import end_on_signals, exit_code, usable_streams


def dispatch(
    prog: str, commands: Mapping[str, Callable[[list[str]], None]], argv: list[str]
) -> None:
    """Call the command named by `argv[0]`; `--help` lists them, `--version` prints the version.

    Raises:
        UserError: there is no such command.
    """
    if not argv or argv[0] in ("-h", "--help"):
        docs = {name: inspect.getdoc(function) or "" for name, function in commands.items()}
        summaries = ((name, doc.partition("\n")[0]) for name, doc in docs.items())
        print(f"usage: {as_started(prog)} COMMAND [--help]\n\n{indented(text_table(summaries))}")
        return
    if argv[0] == "--version":
        print(f"{DISTRIBUTION} {__version__}")
        return
    if argv[0] not in commands:
        raise unknown("command", argv[0], commands)
    commands[argv[0]](argv[1:])


def main(command: Callable[[list[str]], None], *, torchrun: bool = False) -> NoReturn:
    """Run a command on the arguments of this process and exit.

    Args:
        command: the function.
        torchrun: whether it can run in several processes.

    An error that the user can fix prints one line on stderr and exits with code 2. Ctrl-C and
    SIGTERM print how to resume; the exit codes are 130 and 143. Only a bug shows a traceback.
    """
    usable_streams()
    end_on_signals()
    bound_spinning()
    keep_freed_memory()
    try:
        with first_speaks():
            if launched() and not torchrun:
                raise UserError("torchrun can start `python -m condense run` and `evaluate` only")
            command(sys.argv[1:])
        sys.stdout.flush()
    except UserError as error:
        _stop(2, str(error))
    except Interrupted as stop:
        again = resume_command(stop.command, stop.path)
        _stop(exit_code(stop), f"interrupted; resume with: {again}")
    except KeyboardInterrupt as stop:
        _stop(exit_code(stop), "interrupted")
    except BrokenPipeError:  # the reader of the pipe has closed it
        _write_or_drop_output()
        sys.exit(1)
    except RuntimeError as error:
        advice = _advice(error)
        if advice is None:
            raise
        _stop(2, f"{one_line(error)}: {advice}")
    except OSError as error:
        if error.errno not in FULL:
            raise
        _write_or_drop_output()
        if error.filename is None:  # every file is written by `runs.io.writing`, which names it
            _stop(2, "standard output is full: free some space, or send it to another file")
        _stop(2, str(WriteError(error, error.filename)))
    sys.exit(0)


def _advice(error: RuntimeError) -> str | None:
    """What a user can do about an error of PyTorch on a GPU; None about other errors."""
    kind = type(error).__name__  # torch's, which need not be imported
    if kind == "OutOfMemoryError":
        return "use smaller images or batches, a smaller --width or --ipc"
    if kind == "AcceleratorError":
        return "the device failed; go on with --resume, or start the command again"
    if "does not have a deterministic implementation" in str(error):
        return "choose another network, or leave out --deterministic"
    return None


def _write_or_drop_output() -> None:
    """Write the buffered output; if it cannot be written, it must not fail again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stop(code: int, line: str) -> NoReturn:
    print(line, file=sys.stderr)
    sys.exit(code)
