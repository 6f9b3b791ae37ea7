"""The installed command, run as a user would."""

import os
import subprocess
import sys
from pathlib import Path

COMMAND = Path(sys.executable).with_name("fewdistill")

TINY = """
name = "tiny"
seeds = [0]
students = ["mobilenetv3_small"]
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
encoder = "mobilenetv3_small"
base = {epochs = 2, batch = 8}
episodic = {way = 3, shot = 2, query = 1, episodes = 4, validate_every = 2}
fusion = {way = 3, shot = 2, query = 1, episodes = 10, layers = 1, feedforward = 16, validate_every = 5}

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


def environment() -> dict[str, str]:
    """One thread, so that a test beside another job keeps its time."""
    return os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}


def fewdistill(*arguments: str | Path, cwd: Path, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=timeout
    )


def start(*arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    """Start the command in a process group of its own, so that it can be killed with its workers."""
    return subprocess.Popen(
        [COMMAND, *map(str, arguments)], cwd=cwd, env=environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
