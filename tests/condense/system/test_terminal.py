"""Signals, and standard streams that are closed or know no more than ASCII."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.processes import HANGS, python

COMMAND = """
    import os, signal, sys
    from condense import UserError
    from condense.cli.app import main

    def command(argv):
        print("95.2 ± 0.3 %, ς_θ", file=getattr(sys, argv[0]))
        if argv[1:]:
            os.kill(os.getpid(), getattr(signal, argv[1]))
            print("still here")

    main(command)
    """


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signals_end_a_command_like_ctrl_c(name: str) -> None:
    done = python(COMMAND, "stdout", name)
    number = getattr(signal, name)
    assert (done.returncode, done.stderr) == (128 + number, "interrupted\n")
    assert "still here" not in done.stdout


def test_nohup_is_respected() -> None:
    ignoring = COMMAND.replace("import os, signal, sys", NOHUP, 1)
    done = python(ignoring, "stdout", "SIGHUP")
    assert (done.returncode, done.stderr) == (0, "")
    assert "still here" in done.stdout


NOHUP = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)"


def test_a_second_signal_does_not_interrupt_the_flush(tmp_path: Path) -> None:
    code = """
        import os, signal, sys, time
        from condense.cli.app import main

        def command(argv):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGHUP)
                print("flushed")

        main(command)
        """
    done = python(code)
    assert (done.returncode, done.stdout) == (143, "flushed\n")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_terminal_that_knows_no_more_than_ascii(
    stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = python(COMMAND, stream)
    assert done.returncode == 0
    assert getattr(done, stream) == "95.2 ? 0.3 %, ?_?\n"


@pytest.mark.parametrize(("closed", "stream"), [(">&-", "stdout"), ("2>&-", "stderr")])
def test_a_closed_stream_goes_nowhere(closed: str, stream: str, tmp_path: Path) -> None:
    """Above all not into the file that is opened next."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "from condense.cli.app import main\n"
        "def command(argv):\n"
        f"    with open('next', 'w'):\n"
        f"        print('lost', file=sys.{stream}, flush=True)\n"
        f"        os.write({1 if stream == 'stdout' else 2}, b'lost')\n"
        "main(command)\n"
    )
    done = subprocess.run(
        f"{sys.executable} {script} {closed}",
        shell=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=HANGS,
        check=False,
    )
    assert done.returncode == 0
    assert (tmp_path / "next").read_text() == ""


def test_the_spinning_of_threads_is_bounded_before_torch_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = """
        import os, sys
        from condense.cli.app import main
        main(lambda argv: print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules))
        """
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    assert python(code).stdout == "2000 False\n"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert python(code).stdout == "7 False\n"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert python(code).stdout == "None False\n"


@pytest.mark.parametrize("callback", ["destructor", "weak reference"])
def test_a_signal_is_not_lost_while_an_object_is_destroyed(callback: str) -> None:
    """Python ignores what is raised there."""
    program = """
        import os, signal, sys, time, weakref
        from condense.system.terminal import Terminated, end_on_signals

        def end(*_):
            os.kill(os.getpid(), signal.SIGTERM)
            sum(range(1000))

        class Object:
            pass

        end_on_signals()
        try:
            made = Object()
            if sys.argv[1] == "destructor":
                Object.__del__ = end
            else:
                reference = weakref.ref(made, end)
            del made
            time.sleep(1000)
        except Terminated as ended:
            print(ended)
    """
    done = python(program, callback)
    assert (done.stdout, done.stderr) == ("SIGTERM\n", "")
