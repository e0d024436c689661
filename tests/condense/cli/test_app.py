"""The process of a command: its list of commands, exit codes and errors."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from condense.cli.app import dispatch
from condense.distribution import version
from condense.errors import UserError
from tests.helpers.processes import HANGS, python

SCRIPT = """
    import sys
    from pathlib import Path
    from condense.cli.common import Common
    from condense.cli.flags import parse
    from condense.cli.app import dispatch, main
    from condense.cli.run import open_run
    from condense.errors import UserError
    from dataclasses import dataclass
    import tyro

    @dataclass(frozen=True)
    class Run:
        common: tyro.conf.OmitArgPrefixes[Common] = Common()

    def defaults(preset: str) -> Run:
        return Run()

    def run(argv):
        '''Do it.

        Not shown.
        '''
        settings = parse(defaults, argv, "python -m example run")
        with open_run("python -m example run", settings, "example"):
            raise KeyboardInterrupt

    def wrong(argv):
        '''Go wrong.'''
        raise {"user": UserError("one line"), "bug": ZeroDivisionError("a bug"),
               "interrupt": KeyboardInterrupt(),
               "memory": type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory.\\nSee"),
               "device": type("AcceleratorError", (RuntimeError,), {})("CUDA error: launch\\nSee"),
               "draws": RuntimeError("max does not have a deterministic implementation, but you")
               }[argv[0]]

    def show(argv):
        '''Print a lot.'''
        for number in range(int(argv[0])):
            print(number)

    commands = {"run": run, "wrong": wrong, "show": show}
    main(lambda argv: dispatch("python -m example", commands, argv))
    """


def test_help_imports_no_torch() -> None:
    code = textwrap.dedent(SCRIPT).replace(
        "main(", "import atexit\natexit.register(seen)\nmain(", 1
    )
    code = code.replace("import sys\n", "import sys\ndef seen(): print(sorted(sys.modules))\n", 1)
    for argv in (["run", "--help"], ["--help"]):
        done = python(code, *argv)
        assert done.returncode == 0, done.stderr
        modules = done.stdout.splitlines()[-1]
        assert "'tyro'" in modules or argv == ["--help"]
        assert "'torch'" not in modules
        assert "'numpy'" not in modules


def test_the_list_of_commands() -> None:
    for argv in ([], ["-h"], ["--help"]):
        done = python(SCRIPT, *argv)
        assert done.stdout.splitlines() == [
            "usage: python -m example COMMAND [--help]",
            "",
            "  run    Do it.",
            "  wrong  Go wrong.",
            "  show   Print a lot.",
        ]
    with pytest.raises(UserError, match="unknown command 'rum'; known: run"):
        dispatch("python -m example", {"run": lambda argv: None}, ["rum"])


def test_the_version_of_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    dispatch("python -m example", {}, ["--version"])
    assert capsys.readouterr().out == f"condense-toolkit {version()}\n"


def test_what_the_user_can_mend_is_one_line_and_2() -> None:
    done = python(SCRIPT, "wrong", "user")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "one line\n")
    done = python(SCRIPT, "rum")
    assert done.returncode == 2
    assert done.stderr == "unknown command 'rum'; known: run, wrong, show\n"


def test_errors_of_a_gpu_are_one_line() -> None:
    done = python(SCRIPT, "wrong", "memory")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("CUDA out of memory")
    assert done.stderr.endswith(": use smaller images or batches, a smaller --width or --ipc\n")
    done = python(SCRIPT, "wrong", "device")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("CUDA error: launch See: the device failed; go on with --resume")
    done = python(SCRIPT, "wrong", "draws")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.endswith(": choose another network, or leave out --deterministic\n")


def test_a_bug_shows_where_it_is() -> None:
    done = python(SCRIPT, "wrong", "bug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError: a bug" in done.stderr


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    done = python(SCRIPT, "run", "--preset", "cpu", "--out", tmp_path / "my run")
    assert done.returncode == 130
    command = f"python -m example run --resume '{tmp_path / 'my run'}'"
    assert done.stderr == f"interrupted; resume with: {command}\n"
    assert (tmp_path / "my run" / "config.json").exists()
    done = python(SCRIPT, "wrong", "interrupt")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_below_the_output_is_one_line(encoding: str, unbuffered: str) -> None:
    own = {"PYTHONIOENCODING": encoding, "PYTHONUNBUFFERED": unbuffered}
    environment = {**os.environ, **own}
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", textwrap.dedent(SCRIPT), "show", "3"]
        done = subprocess.run(
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=HANGS,
            env=environment,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("standard output is full: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_has_enough_is_no_error() -> None:
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), "show", "100000"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
