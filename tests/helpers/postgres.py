"""A PostgreSQL server for the tests: started on first use, closed at the end of the session."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text


class Server:
    """A server with its data in a folder of its own; programs of root must not start one."""

    def __init__(self, binaries: Path) -> None:
        import pwd  # not on every system

        self._binaries = binaries
        self._user = pwd.getpwnam("nobody").pw_name if os.getuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
        if self._user:
            shutil.chown(self._folder, self._user)
        self._data = self._folder / "data"
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "postgres", "--no-sync")
        self.start()

    def start(self) -> None:
        """Listens on a Unix socket in the folder only: no other program can have the same."""
        options = f"-c listen_addresses='' -c fsync=off -k {self._folder}"
        self._control("start", "-o", options, "-l", self._folder / "log")

    def stop(self) -> None:
        """At once: open connections are cut off."""
        self._control("stop", "-m", "immediate")

    def close(self) -> None:
        """Stops it, and removes its folder."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def new_database(self, name: str) -> str:
        """The URL of a new database."""
        engine = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
        engine.dispose()
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self._folder}"

    def _control(self, *arguments: str | Path) -> None:
        self._run("pg_ctl", "-D", self._data, "-w", "-t", "600", *arguments)

    def _run(self, program: str, *arguments: str | Path) -> None:
        command: Sequence[str | Path] = [self._binaries / program, *arguments]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, user=self._user, cwd=self._folder
        )


def _binaries() -> Path | None:
    found = [Path(path).parent for path in [shutil.which("pg_ctl")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").is_file()), None)


STARTED: list[Server] = []
"""The server of this process, once a test has needed it."""


def server() -> Server:
    """The server of this process; skips the test where there can be none."""
    if STARTED:
        return STARTED[0]
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("the driver of PostgreSQL is not installed: the extra `postgres`")
    STARTED.append(Server(binaries))
    return STARTED[0]
