"""The command line, run as a user would: in this process, or the installed command in one of its own."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from fewdistill.benchmark.cli.main import main

COMMAND = Path(sys.executable).with_name("fewdistill")

PICO = Path(__file__).parent / "plugins" / "pico.py"
TINY = f"""
name = "tiny"
plugins = ["{PICO}"]
seeds = [0]
students = ["pico"]
distillation = ["none", "both"]
width = 16

[data]
clips_per_class = 6
train_classes = 4
val_classes = 3
test_classes = 3
frames = 4
image_size = 32
flip = false

[head]
width = 8

[teacher]
modalities = ["rgb", "depth", "flow", "skeleton"]
encoder = "pico"
base = {{epochs = 2, batch = 8}}
episodic = {{way = 3, shot = 2, query = 1, episodes = 4, validate_every = 2}}
fusion = {{way = 3, shot = 2, query = 1, episodes = 10, layers = 1, feedforward = 16, validate_every = 5}}

[base]
epochs = 4
batch = 8
clip_frames = 2
token_target = "skeleton"

[episodic]
way = 3
shot = 2
query = 1
adapt_episodes = 8
episodes = 20
validate_every = 10
token_weight = 1.0

[evaluate]
way = 3
shots = [1, 2]
episodes = 200
val_shot = 2
val_episodes = 50
"""
"""A suite of networks that train in milliseconds."""
MOBILE = TINY.replace('pico"', 'mobilenetv3_small"')
"""The same of a real network."""


def environment() -> dict[str, str]:
    """The environment of a command in a process of its own: this one's, as tests/conftest.py set it up."""
    return dict(os.environ)


def fewdistill(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end in this process, which need not wait for torch's import again.

    An error that the command does not turn into an exit code is the caller's to see: it is raised.
    """
    command = [str(COMMAND), *map(str, arguments)]
    said, complained = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    code: object = None
    with ExitStack() as stack:
        stack.enter_context(_process_state_restored())
        stack.enter_context(chdir(cwd))
        stack.enter_context(mock.patch.object(sys, "argv", command))
        stack.enter_context(mock.patch.object(sys.modules["__main__"], "__package__", None))  # a script, no -m
        stack.enter_context(redirect_stdout(said))
        stack.enter_context(redirect_stderr(complained))
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    if isinstance(code, str):  # as Python ends a process: the text to standard error, exit code 1
        complained.write(f"{code}\n")
    status = code if isinstance(code, int) else int(code is not None)
    return subprocess.CompletedProcess(command, status, _text(said), _text(complained))


def succeeded(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``fewdistill`` that must end well."""
    result = fewdistill(*arguments, cwd=cwd)
    assert result.returncode == 0, result.stderr
    return result


def installed(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed command to its end in a process of its own."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=240
    )


def start(*arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    """Start the command in a process group of its own, so that it can be killed with its workers."""
    return subprocess.Popen(
        [COMMAND, *map(str, arguments)], cwd=cwd, env=environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@contextmanager
def _process_state_restored() -> Iterator[None]:
    """What a command changes for its whole process is as it was when the block ends: environment, answer to Ctrl-C.

    Plug-ins of a suite register themselves for good, and their folder joins the import path, which tells of them.
    """
    on_interrupt, path = signal.getsignal(signal.SIGINT), list(sys.path)
    try:
        with mock.patch.dict(os.environ):
            yield
    finally:
        signal.signal(signal.SIGINT, on_interrupt)
        grown = {at for at in sys.path if not at.startswith(sys.prefix)} - {*path, str(PICO.parent)}
        sys.path[:] = path
    assert not grown, "a suite with plug-ins needs a process of its own: installed()"


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)  # which flushes
    return stream.read()
