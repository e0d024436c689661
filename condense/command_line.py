"""What all command lines share: flags made from dataclasses, presets, `--resume`, errors in a line.

A command is a frozen dataclass with a field `common`, a function that gives its defaults, and a
function that does the work::

    @dataclass(frozen=True)
    class Run:
        dataset: str = "auto"
        settings: tyro.conf.OmitArgPrefixes[GradientMatching] = field(default_factory=...)
        common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def defaults(preset: str) -> Run: ...

    def run(argv: list[str]) -> None:
        '''Condense an image set.'''
        settings = parse(defaults, argv, "python -m condense run")
        device = choose_device(settings.common.device)
        ...
        with open_run("python -m condense run", settings, "condense", data=...) as folder:
            ...

    if __name__ == "__main__":
        main(run)

Nothing here imports torch before it is needed: `--help` never does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import itertools
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn, Protocol, TypeVar

from condense.allocator import keep_freed_memory
from condense.errors import UserError, check_values, one_line, unknown
from condense.files import FULL, explain, is_file, is_text, read_json
from condense.openmp import bound_spinning
from condense.paths import user_path
from condense.presets import preset_for
from condense.recorded import departures, rebuild, record
from condense.run_folder import Interrupted, RunFolder
from condense.terminal import end_on_signals, exit_code, usable_streams

if TYPE_CHECKING:
    import torch

_WITH_RESUME = ("resume", "quiet", "no-quiet", "data-root")
_NOT_KEPT = ("out", "resume", "quiet")
LARGEST_SEED = 10**18 - 1
"""Numbers that any reader of JSON keeps whole, and that count up without an overflow."""


@dataclass(frozen=True)
class Common:
    """What every command has."""

    preset: Literal["auto", "paper", "cpu", "smoke"] = "auto"
    """Values for the other settings; a flag overrides its own. paper: the published experiments'.
    cpu: useful on two cores. smoke: seconds, for tests. auto: paper on a GPU, else cpu.
    This help shows the values of cpu, or of the preset that is given with --help."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, … or mps."""
    seed: int = 0
    """The same seed gives the same result with the same PyTorch."""
    data_root: Path | None = None
    """Folder of the data sets; by default $CONDENSE_DATA, else the user's cache folder."""
    out: Path | None = None
    """Folder of this run; by default one in runs/ that is named after the time."""
    resume: Path | None = None
    """Folder of an interrupted run to go on with; it knows its settings."""
    quiet: bool = False
    """No progress bar."""
    deterministic: bool = False
    """On a GPU: the same bits from run to run, a little slower. On a CPU they always are."""
    cache: bool = True
    """Look condensed sets up in the cache folder before condensing, and keep them there."""

    def __post_init__(self) -> None:
        check_values(self)
        if not abs(self.seed) <= LARGEST_SEED:
            raise UserError("seed must be a number of at most 18 digits")


class Settings(Protocol):
    """A frozen dataclass with the common settings."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def common(self) -> Common:
        """What every command has."""


SettingsT = TypeVar("SettingsT", bound=Settings)
FlagsT = TypeVar("FlagsT")


def parse(
    defaults: Callable[..., SettingsT],
    argv: Sequence[str],
    prog: str,
    changing_nothing: Collection[str] = (),
) -> SettingsT:
    """The settings that a command line asks for.

    Args:
        defaults: gives the settings from which flags depart. Its parameters are the flags that
            defaults depend on, like `preset` or `method`: they are looked up in `argv` first, and
            those not given there are left at the function's own default. `preset` is never "auto".
        argv: the arguments.
        prog: the command as it is typed, for the help and for config.json.
        changing_nothing: the command's own flags that change no result.

    With `--resume RUN` all settings are the run's own, of which none may be given but those that
    change no result.

    Raises:
        UserError: for a flag that is not known or cannot have this value.
    """
    _check_text(argv)
    helping = "-h" in argv or "--help" in argv
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
        UserError: for a flag that is not known or cannot have this value.
    """
    import tyro

    _check_text(argv)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            default = tyro.MISSING_NONPROP if start is None else start
            return _with_paths(tyro.cli(kind, default=default, args=list(argv), prog=prog))
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UserError(_unboxed(said.getvalue())) from None


def _check_text(argv: Sequence[str]) -> None:
    """UserError for an argument that could not be written to config.json, or to a terminal."""
    for before, argument in zip(["an argument", *argv], argv, strict=False):
        if not is_text(argument):
            # The value itself is not quoted: that of --storage may hold a password.
            flag = argument.partition("=")[0] if argument.startswith("--") else before
            raise UserError(f"{flag} holds bytes that are not UTF-8: choose another name")


def _with_paths(settings: FlagsT) -> FlagsT:
    """The same settings with `~` expanded in paths; UserError where one cannot be used."""
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            changed[field.name] = _with_paths(value)
        elif isinstance(value, Path):
            changed[field.name] = user_path(value, f"--{field.name.replace('_', '-')}")
    return dataclasses.replace(settings, **changed)  # type: ignore[type-var]


def _unboxed(box: str) -> str:
    """tyro's explanation, a box of several paragraphs, in one line."""
    lines = [line.strip("│╭╮╰╯ ") for line in box.splitlines()[1:]]  # the first is a title
    body = itertools.dropwhile(lambda line: not line.strip("─-"), lines)
    paragraph = itertools.takewhile(lambda line: line.strip("─-"), body)
    near = [line.split()[0] for line in lines if re.match(r"--\w", line) and "Perhaps" in box]
    return " ".join(paragraph) + (f"; did you mean {' or '.join(near)}?" if near else "")


def open_run(prog: str, settings: Settings, what: str, **entries: Any) -> RunFolder:
    """The run's folder: a new one, or with `--resume` the one that is there.

    Args:
        prog: the command as it is typed.
        settings: all of them go to config.json.
        what: the default folder is runs/WHAT-TIME.
        entries: what else config.json says, and what must be the same in a resumed run: above
            all, which images were used.

    Raises:
        UserError: as `RunFolder.create`, `RunFolder.open` and `RunFolder.require`, and for a run
            to resume that is finished.
    """
    common = settings.common
    if common.resume is None:
        kept = record(settings, without=_NOT_KEPT)
        config = {"command": prog, "settings": kept, "departures": _departures(settings), **entries}
        return RunFolder.create(common.out or default_out(what), config)
    folder = RunFolder.open(common.resume)
    try:
        if folder.finished:
            raise UserError(f"{folder.path} is finished: its results are in summary.json")
        folder.require(**entries)
    except BaseException:
        folder.close()
        raise
    return folder


def _departures(settings: Settings) -> dict[str, Any]:
    """What the preset and flags changed of the published experiments' values."""
    parts = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return {
        name: departures(part)
        for name, part in parts.items()
        if name != "common" and dataclasses.is_dataclass(part)
    }


def default_out(what: str) -> Path:
    """A folder that is not there yet: runs/WHAT-YYYYmmdd-HHMMSS."""
    short = "".join(char if char.isprintable() and char != "/" else "-" for char in what)[:100]
    stem = f"{short}-{time.strftime('%Y%m%d-%H%M%S')}"
    path = Path("runs", stem)
    number = 1
    while path.exists():
        number += 1
        path = Path("runs", f"{stem}-{number}")
    return path


def choose_device(name: str) -> torch.device:
    """The device of this name; "auto" is the first GPU, or the CPU where there is none.

    Raises:
        UserError: the name is none, or this machine has no such device.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise unknown("device", name, ("auto", "cpu", "cuda", "cuda:1", "mps")) from error
    count = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }.get(device.type, 0)
    if (device.index or 0) >= count:
        there = f"torch sees {count} of this kind" if count else "torch sees none"
        raise UserError(f"no device {name} here ({there}): use --device auto or --device cpu")
    return device


def set_determinism(common: Common) -> None:
    """With `--deterministic` on a GPU, have this process compute the same bits in every run.

    To be called before anything is computed there: cuBLAS reads its setting when it starts.
    """
    if not common.deterministic or choose_device(common.device).type != "cuda":
        return
    import torch

    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True)


def dispatch(
    prog: str, commands: Mapping[str, Callable[[list[str]], None]], argv: list[str]
) -> None:
    """Calls the command that `argv` begins with; for `--help`, says which there are.

    Raises:
        UserError: there is no such command.
    """
    if not argv or argv[0] in ("-h", "--help"):
        width = max(map(len, commands))
        print(f"usage: {prog} COMMAND [--help]\n")
        for name, function in commands.items():
            summary = (inspect.getdoc(function) or "").splitlines()[:1]
            print(f"  {name:{width}}  {' '.join(summary)}")
        return
    if argv[0] not in commands:
        raise unknown("command", argv[0], commands)
    commands[argv[0]](argv[1:])


def main(command: Callable[[list[str]], None]) -> NoReturn:
    """Runs a command on the arguments of this process and exits.

    What the user can mend is one line on stderr and exit code 2. Ctrl-C and SIGTERM say how to go
    on; their exit codes are 130 and 143. Only a bug shows a traceback.
    """
    usable_streams()
    end_on_signals()
    bound_spinning()
    keep_freed_memory()
    try:
        command(sys.argv[1:])
        sys.stdout.flush()
    except UserError as error:
        _stop(2, str(error))
    except Interrupted as stop:
        again = f"{stop.command} --resume {shlex.quote(str(stop.path))}"
        _stop(exit_code(stop), f"interrupted; go on with: {again}")
    except KeyboardInterrupt as stop:
        _stop(exit_code(stop), "interrupted")
    except BrokenPipeError:
        # Whoever read the output has enough; what is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in FULL:
            raise
        _stop(2, str(explain(error, error.filename or "the output")))
    sys.exit(0)


def _stop(code: int, line: str) -> NoReturn:
    print(line, file=sys.stderr)
    sys.exit(code)


def _peek(argv: Sequence[str], flag: str) -> str | None:
    """The value of `--flag VALUE` or `--flag=VALUE` in `argv`, the last one; None without."""
    found = None
    for position, argument in enumerate(argv):
        name, equals, value = argument.partition("=")
        if name.startswith("--") and name[2:].replace("_", "-") == flag.replace("_", "-"):
            following = argv[position + 1] if position + 1 < len(argv) else None
            found = value if equals else following
    return found


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
            raise UserError(f"{flag} cannot be given with --resume: {run} knows its settings")
    path = run / "config.json"
    if not is_file(path):
        raise UserError(f"{run} holds no run to resume (no config.json)")
    config = read_json(path)
    if config.get("command") != prog:
        raise UserError(
            f"{run} was made by another command: {config.get('command')} --resume {run}"
        )
    kept = config.get("settings")
    if not isinstance(kept, dict) or not isinstance(kept.get("common"), dict):
        raise UserError(f"{path} is damaged: it holds no settings")
    # A setting that there was not yet when the run was begun was as published.
    flags = {**kept["common"], **kept, "preset": "paper"}
    try:
        return rebuild(_defaults(defaults, flags.get), kept, path)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: its settings are none ({one_line(error)})") from error
