"""Sections that the reports of all commands have: settings and provenance."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from condense.runs.changes import Change
from condense.runs.html_report import Section, Table, Text

HERE = "In the folder of this report"
"""Where commands and code that name files of a run work; the page has no path of its folder."""
_ABOUT_THE_RUN = ("seed", "preset", "deterministic")


def settings_section(
    config: Mapping[str, Any],
    differing: Sequence[Change],
    without: Collection[str] = (),
) -> Section:
    """The settings that differ from the preset, and all settings to unfold.

    Args:
        config: the content of config.json.
        differing: from `condense.config.serialization.differences`.
        without: settings that do not change the result.
    """
    preset = config["settings"]["common"]["preset"]
    rows = [
        (flag(name), _shown_of(name, usual), _shown_of(name, value))
        for name, usual, value in differing
    ]
    everything = settings_table(config["settings"], "All settings", without)
    if not rows:
        return Section("Settings", [Text(f"All are those of the preset {preset}."), everything])
    table = Table(rows, ["setting", f"preset {preset}", "this run"])
    return Section("Settings that differ from the preset", [table, everything])


def settings_table(
    settings: Mapping[str, Any], folded: str, without: Collection[str] = ()
) -> Table:
    """All settings, to unfold.

    Args:
        settings: nested, as `record` returns them.
        folded: the line that is shown.
        without: as for `settings_section`.
    """
    rows = [
        (flag(name), _shown_of(name, value))
        for name, value in flattened(settings)
        if name not in without
    ]
    return Table(rows, folded=folded)


def provenance_section(config: Mapping[str, Any]) -> Section:
    """What the run was made from: code, images, device, seed."""
    common = config["settings"]["common"]
    rows = [("command", shown(config.get("command"))), ("version", shown(config.get("version")))]
    rows += [("commit", shown(config["commit"]))] if config.get("commit") else []
    rows += [(key, shown(common[key])) for key in _ABOUT_THE_RUN if key in common]
    rows.append(("device", shown(config.get("device"))))
    data = config["data"]
    for each in data if isinstance(data, list) else [data]:
        size = "×".join(map(str, each["shape"]))
        counts = f"{each['train']} training and {each['test']} test images"
        classes = f"{each['classes']} class{'' if each['classes'] == 1 else 'es'}"
        rows.append((f"images: {each['name']}", f"{counts} of {classes}, {size}"))
        rows.append(("their SHA-256", each["sha256"]))
    return Section("Provenance", [Table(rows)])


def flag(name: str) -> str:
    """The name of a setting as a flag is written, without its dashes in front."""
    if name.startswith(("settings.", "eeil.")):  # the command line omits the names of all groups
        name = name.rpartition(".")[2]
    return name.replace("_", "-")


def common_flags(common: Mapping[str, Any]) -> list[str]:
    """The settings of every command that another command for the same images needs, as flags.

    Args:
        common: the content of `settings.common` in config.json.
    """
    names = ["preset"]
    if common["data_root"] is not None:
        names += ["data_root"]
    if common["size"] is not None:
        names += ["size", "fit"]
    if not common["hflip"]:
        names += ["hflip"]
    return [as_flag(name, common[name]) for name in names]


def as_flags(differing: Iterable[Change]) -> list[str]:
    """The settings that differ from the preset as flags of a command line."""
    return [as_flag(change.name, change.value) for change in differing]


def as_flag(name: str, value: Any) -> str:
    """A setting as a flag of a command line."""
    if isinstance(value, bool):
        group, dot, last = flag(name).rpartition(".")
        return f"--{group}{dot}{'' if value else 'no-'}{last}"
    values = value if isinstance(value, (list, tuple)) else [value]
    return " ".join([f"--{flag(name)}", *map(_as_argument, values)])


def _shown_of(name: str, value: object) -> str:
    """A setting as text; no operations of augmentation stand for the default ones."""
    return "default" if name.endswith("dsa_strategy") and not value else shown(value)


def shown(value: object) -> str:
    """A setting as text."""
    if value is None:
        return "none"
    if isinstance(value, Path):
        return str(value.absolute())  # as in config.json, from which a resumed run reads it
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or "none"
    return str(value)


def _as_argument(value: object) -> str:
    return shlex.quote(shown(value) if isinstance(value, Path) else str(value))


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of nested settings, without `common`."""
    for name, value in settings.items():
        if name == "common":
            continue
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
