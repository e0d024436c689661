"""The distribution that contains these packages: its name, its version, its extras."""

from __future__ import annotations

DISTRIBUTION = "condense-toolkit"
"""The name on a package index; `condense` is another project there."""


def version() -> str:
    """The version of the installed distribution; "unknown" if it is not installed."""
    from importlib import metadata

    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"


__version__ = version()
"""The version of the installed distribution; "unknown" if it is not installed."""


def install_extra(name: str) -> str:
    """The command that installs an extra of `pyproject.toml`."""
    return f'pip install "{DISTRIBUTION}[{name}]"'
