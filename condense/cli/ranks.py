"""A command in several processes, started by torchrun: the first one writes the run."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from condense.cli.common import Common, Settings
from condense.errors import UserError
from condense.runs.io import TEMPORARY, writing
from condense.runs.paths import user_path
from condense.system.notes import no_notes
from condense.system.terminal import exit_code

SettingsT = TypeVar("SettingsT", bound=Settings)

GRACE_SECONDS = 10.0
"""How long a process with an error waits for the first one, which mostly finds the same error. When
that one has told it and ended, torchrun ends the others."""


def launched() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def first_speaks() -> Iterator[None]:
    """Of the processes of torchrun that run the command of this block, the first one prints.

    The others end without a word when they are interrupted. An error that the first one does not
    have is raised with the number of the process.
    """
    number = int(os.environ.get("RANK", "0")) if launched() else 0
    if not number:
        yield
        return
    with contextlib.ExitStack() as stack:
        null = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        stack.enter_context(contextlib.redirect_stdout(null))
        stack.enter_context(no_notes())
        try:
            with _named(number):
                yield
        except KeyboardInterrupt as stop:
            raise SystemExit(exit_code(stop)) from stop


@contextmanager
def _named(number: int) -> Iterator[None]:
    """Name the process in errors, unless torchrun ends it before."""
    try:
        yield
    except UserError as error:
        time.sleep(GRACE_SECONDS)
        raise UserError(f"process {number} of torchrun: {error}") from error


@contextmanager
def as_rank(settings: SettingsT) -> Iterator[SettingsT]:
    """The settings with which this process of torchrun runs the command; without torchrun, these.

    All processes run the command alike, with a run folder each, so that no code needs to know of
    the others: the first one in the real folder, the others in a temporary copy. None uses the
    cache, in which only some of them might find the set.

    Raises:
        UserError: the processes cannot be connected, or as in the block.
    """
    if not launched():
        yield settings
        return
    from condense.training.ranks import join_ranks, leave_ranks, rank, wait_for_ranks

    join_ranks()
    atexit.register(leave_ranks)  # not before an error is told: the other processes end by that
    common = dataclasses.replace(settings.common, cache=False)
    with contextlib.ExitStack() as stack:
        if rank():
            with writing("a temporary copy of the run", "$TMPDIR"):
                temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rank-")))
                common = _silent(common, temporary / "run")
        wait_for_ranks()  # all have copied what they resume, before the first one changes it
        yield dataclasses.replace(settings, common=common)


def _silent(common: Common, folder: Path) -> Common:
    """The settings of a process whose results are not kept."""
    if common.resume is None:
        return dataclasses.replace(common, quiet=True, out=folder)
    folder.mkdir()
    for file in user_path(common.resume, "--resume").iterdir():
        if file.is_file() and not file.name.startswith(TEMPORARY):
            shutil.copyfile(file, folder / file.name)
    return dataclasses.replace(common, quiet=True, resume=folder)
