"""The run folder of a command: a new folder, or the folder of `--resume`."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from condense.cli.common import Settings
from condense.config.serialization import overrides, record
from condense.distribution import version
from condense.errors import UserError
from condense.runs.io import writing
from condense.runs.run_dir import SUMMARY, RunFolder

_NOT_KEPT = ("out", "resume", "quiet")


def open_run(prog: str, settings: Settings, what: str, **entries: Any) -> RunFolder:
    """The folder of the run: a new folder, or with `--resume` the existing one.

    Args:
        prog: the command, as in config.json.
        settings: all settings; they are written to config.json.
        what: the default folder is runs/WHAT-TIME.
        entries: further entries of config.json, which must be equal in a resumed run: mainly the
            images used.

    Raises:
        UserError: as in `RunFolder.create`, `RunFolder.open` and `RunFolder.require`; or the run
            to resume is finished.
    """
    common = settings.common
    if common.resume is None:
        kept = record(settings, without=_NOT_KEPT)
        config = {"command": prog, "settings": kept, "overrides": _overrides(settings), **entries}
        folder = RunFolder.create(common.out or default_out(what), config)
        folder.tensorboard = common.tensorboard
        return folder
    folder = RunFolder.open(common.resume)
    folder.tensorboard = common.tensorboard
    try:
        if folder.finished:
            raise UserError(f"{folder.path} is finished: its results are in {SUMMARY}")
        folder.require(**entries)
        # As they were checked: an older or damaged file may lack some.
        folder.config["settings"] = record(settings, without=_NOT_KEPT)
        folder.log.write(f"resumed: version {version()}")
    except BaseException:
        folder.close()
        raise
    return folder


def _overrides(settings: Settings) -> dict[str, Any]:
    """The settings that the preset and the flags changed from the published values."""
    parts = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return {
        name: overrides(part)
        for name, part in parts.items()
        if name != "common" and dataclasses.is_dataclass(part)
    }


def default_out(what: str) -> Path:
    """A new folder runs/WHAT-YYYYmmdd-HHMMSS; runs that start together get one each.

    Raises:
        UserError: it cannot be made.
    """
    short = "".join(char if char.isprintable() and char != "/" else "-" for char in what)[:100]
    stem = f"{short}-{time.strftime('%Y%m%d-%H%M%S')}"
    path = Path("runs", stem)
    number = 1
    with writing(path):
        path.parent.mkdir(exist_ok=True)
        while not _made(path):
            number += 1
            path = Path("runs", f"{stem}-{number}")
    return path


def _made(path: Path) -> bool:
    """Make a folder; False if something with its name is there."""
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True
