"""Command-line parsing: flags generated from dataclasses, presets, `--resume`, one-line errors.

A command consists of a frozen dataclass with a field `common`, a function that returns the
defaults, and a function that does the work::

    @dataclass(frozen=True)
    class Run:
        dataset: str = "auto"
        settings: tyro.conf.OmitArgPrefixes[GradientMatching] = field(default_factory=...)
        common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def defaults(preset: str) -> Run: ...

    def run(argv: list[str]) -> None:
        '''Condense a dataset.'''
        settings = parse(defaults, argv, "python -m condense run")
        device = choose_device(settings.common.device)
        ...
        with open_run("python -m condense run", settings, "condense", data=...) as folder:
            ...

    if __name__ == "__main__":
        main(run)

This module imports torch only when it is needed: `--help` never imports it."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import itertools
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from condense.cli.common import Settings
from condense.cli.device import choose_device, set_determinism
from condense.config.presets import preset_for
from condense.config.serialization import rebuild
from condense.errors import UserError, one_line
from condense.methods.registry import METHODS
from condense.runs.io import (
    check_text,
    is_file,
    read_json,
)
from condense.runs.paths import check_png, is_png, user_path
from condense.runs.run_dir import CONFIG
from condense.system.scripts import as_started

if TYPE_CHECKING:
    from tyro.constructors import ConstructorRegistry

_WITH_RESUME = ("resume", "quiet", "no-quiet", "data-root", "cache", "no-cache")


SettingsT = TypeVar("SettingsT", bound=Settings)
FlagsT = TypeVar("FlagsT")


def parse(
    defaults: Callable[..., SettingsT],
    argv: Sequence[str],
    prog: str,
    changing_nothing: Collection[str] = (),
) -> SettingsT:
    """The settings given by a command line.

    Args:
        defaults: returns the default settings. Its parameters are the flags on which defaults
            depend, such as `preset`, `method` or, for `network.norm`, `network_norm`. They are
            looked up in `argv` first; a flag that is not in `argv` keeps the default of the
            function. `preset` is never "auto".
        argv: the arguments.
        prog: the command, as in config.json.
        changing_nothing: the command's own flags that do not change the result.

    With `--resume RUN` all settings are read from the run; only flags that do not change the
    result may be given.

    Raises:
        UserError: a flag is unknown or has an invalid value.
    """
    _check_text(argv)
    helping = _helping(argv)
    resumed = None if helping else _peek(argv, "resume")
    if resumed is None:
        preset = _preset(argv, helping)
        start = _defaults(defaults, lambda flag: preset if flag == "preset" else _peek(argv, flag))
    else:
        allowed = {*_WITH_RESUME, *changing_nothing}
        start = _kept(defaults, argv, user_path(resumed, "--resume"), prog, allowed)
        preset = start.common.preset
    parsed = read_flags(type(start), argv, prog, start)
    common = dataclasses.replace(parsed.common, preset=preset)
    set_determinism(common)
    return dataclasses.replace(parsed, common=common)


def read_flags(
    kind: type[FlagsT], argv: Sequence[str], prog: str, start: FlagsT | None = None
) -> FlagsT:
    """A dataclass from the flags of a command line; `--help` prints them and exits.

    Raises:
        UserError: a flag is unknown or has an invalid value.
    """
    import tyro

    _check_text(argv)
    default = tyro.MISSING_NONPROP if start is None else start
    registry = _registry(argv)

    def parsed(arguments: Sequence[str]) -> FlagsT:
        return tyro.cli(
            kind, default=default, args=list(arguments), prog=as_started(prog), registry=registry
        )

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return _with_paths(parsed(argv))
    except SystemExit as stop:
        if not stop.code:
            raise
    message, near = _unboxed(said.getvalue())
    if message.startswith("Unrecognized options"):
        known = _flags_in_help(parsed)
        near = [*_in_other_groups(argv, known), *near]
        message += _of_other_methods(argv, known)
    meant = f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
    raise UserError(f"{message}{meant}")


def _helping(argv: Sequence[str]) -> bool:
    return "-h" in argv or "--help" in argv


def _registry(argv: Sequence[str]) -> ConstructorRegistry | None:
    """How tyro is to read dataclasses, for the help alone."""
    if not _helping(argv):
        return None
    from condense.cli.help_texts import JOINED

    return JOINED


def _check_text(argv: Sequence[str]) -> None:
    """Raise UserError if an argument cannot be written to config.json or to a terminal."""
    for before, argument in zip(["an argument", *argv], argv, strict=False):
        check_text(argument.partition("=")[0] if argument.startswith("--") else before, argument)


def _with_paths(settings: FlagsT) -> FlagsT:
    """The same settings with `~` expanded in paths; UserError if a path cannot be used.

    A path whose default is a picture must be one, as pictures are only written as PNG files.
    """
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            changed[field.name] = _with_paths(value)
        elif isinstance(value, Path):
            flag = f"--{field.name.replace('_', '-')}"
            changed[field.name] = user_path(value, flag)
            if isinstance(field.default, Path) and is_png(field.default):
                check_png(value, flag)
    return dataclasses.replace(settings, **changed)  # type: ignore[type-var]


def _unboxed(box: str) -> tuple[str, list[str]]:
    """tyro's error message, a box of several paragraphs, as one line; the flags it proposes."""
    lines = [line.strip("│╭╮╰╯ ") for line in box.splitlines()[1:]]  # the first is a title
    body = itertools.dropwhile(lambda line: not line.strip("─-"), lines)
    paragraph = itertools.takewhile(lambda line: line.strip("─-"), body)
    near = [line.split()[0] for line in lines if re.match(r"--\w", line) and "Perhaps" in box]
    return " ".join(paragraph), near


def _flags_in_help(parsed: Callable[[Sequence[str]], object]) -> set[str]:
    """The flags of a command: tyro lists them only in the text of its help."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        parsed(["--help"])
    # Each begins a line, or, in a wide terminal, that of a column.
    return set(re.findall(r"(?:^|[│ ] )(--\w[\w.-]*)(?=[ ,\n])", shown.getvalue(), re.MULTILINE))


def _in_other_groups(argv: Sequence[str], known: Collection[str]) -> list[str]:
    """Flags that are those of `argv` but for the name of their group.

    `--network.width` of one command is `--width` of another, `--num-eval` of one
    `--evaluation.num-eval` of another.
    """
    found = []
    for argument in argv:
        given = name = argument.partition("=")[0].replace("_", "-")
        if not given.startswith("--") or given in known:
            continue
        while "." in name and name not in known:
            group, _, rest = name.partition(".")
            if any(flag.startswith(f"{group}.") for flag in known):
                break
            name = f"--{rest}"
        inner = [flag for flag in sorted(known) if flag.endswith(f".{given[2:]}")]
        found += [name] if name in known else inner
    return found


def _of_other_methods(argv: Sequence[str], known: Collection[str]) -> str:
    """Which methods have an unknown flag, in words, if the flags depend on --method."""
    if "--method" not in known:
        return ""
    settings = {
        method: {field.name for field in dataclasses.fields(about.settings)}
        for method, about in METHODS.items()
    }
    for argument in argv:
        name = argument.partition("=")[0].replace("_", "-")
        owners = [method for method, names in settings.items() if _parameter(name[2:]) in names]
        if owners and name.startswith("--") and name not in known:
            return f"; {name} is a setting of {', '.join(owners)}: give --method"
    return ""


def _peek(argv: Sequence[str], flag: str) -> str | None:
    """The last value of `--flag VALUE` or `--flag=VALUE` in `argv`; None if there is none."""
    # tyro.extras.overridable_config_cli chooses defaults by a subcommand: it has no flag on which
    # the defaults of other flags depend, and one subcommand for each combination would be needed.
    found = None
    for position, argument in enumerate(argv):
        name, equals, value = argument.partition("=")
        if name.startswith("--") and _parameter(name[2:]) == _parameter(flag):
            following = argv[position + 1] if position + 1 < len(argv) else None
            found = value if equals else following
    return found


def _parameter(flag: str) -> str:
    """The name of a function's parameter for a flag: `network_width` for `network.width`."""
    return flag.replace("-", "_").replace(".", "_")


def _preset(argv: Sequence[str], helping: bool) -> Any:
    preset = _peek(argv, "preset") or "auto"
    if preset != "auto":
        return preset
    if helping:
        return "cpu"
    return preset_for(choose_device(_peek(argv, "device") or "auto").type)


def _defaults(
    defaults: Callable[..., SettingsT], look_up: Callable[[str], str | None]
) -> SettingsT:
    flags = {flag: look_up(flag) for flag in inspect.signature(defaults).parameters}
    return defaults(**{flag: value for flag, value in flags.items() if value is not None})


def _kept(
    defaults: Callable[..., SettingsT],
    argv: Sequence[str],
    run: Path,
    prog: str,
    allowed: Collection[str],
) -> SettingsT:
    """The settings in a run's config.json."""
    for argument in argv:
        flag = argument.partition("=")[0].replace("_", "-")
        if flag.startswith("--") and flag[2:] not in allowed:
            raise UserError(f"{flag} cannot be given with --resume: {run} has its own settings")
    path = run / CONFIG
    if not is_file(path):
        raise UserError(f"{run} contains no run to resume (no {CONFIG})")
    config = read_json(path)
    if (made_by := config.get("command")) != prog:
        raise UserError(
            f"{run} was made by another command: {as_started(str(made_by))} --resume {run}"
        )
    kept = config.get("settings")
    if not isinstance(kept, dict) or not isinstance(kept.get("common"), dict):
        raise UserError(f"{path} is damaged: it contains no settings")
    # A setting that did not exist when the run was started has the published value.
    flags = {**kept["common"], **kept, "preset": "paper"}
    try:
        return rebuild(_defaults(defaults, flags.get), kept, path)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is damaged: its settings are invalid ({one_line(error)})"
        ) from error
