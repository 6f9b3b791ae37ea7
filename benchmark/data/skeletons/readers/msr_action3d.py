"""MSR-Action3D (Li, Zhang, Liu, CVPR workshops 2010), one text file a clip."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.problem import DataProblem, FileError
from fewdistill.benchmark.data.skeletons.layout import LAYOUTS, ClipEntry, Layout, Listing
from fewdistill.benchmark.data.skeletons.parse import REMEDY, checked_clip, fill_unseen, read_text

NAME = re.compile(r"(a(\d\d)_s(\d\d)_e\d\d)_skeleton3D")
CLASSES = (
    "high arm wave", "horizontal arm wave", "hammer", "hand catch", "forward punch", "high throw", "draw x",
    "draw tick", "draw circle", "hand clap", "two hand wave", "side boxing", "bend", "forward kick", "side kick",
    "jogging", "tennis swing", "tennis serve", "golf swing", "pick up and throw",
)  # fmt: skip
LEFT_OUT = {"a13_s09_e02": "every frame is zero, as published"}


@LAYOUTS.register("msr_action3d")
class MSRAction3D(Layout):
    """`aAA_sSS_eEE_skeleton3D.txt`: a row of x, y, z, confidence for each of 20 joints, frame after frame.

    The tracker lost the person in 20 of the 567 clips, whose frames are zero there: cut off at either end of a clip,
    interpolated in between (`parse.fill_unseen`). One clip holds nothing else and is left out by name.
    """

    topology = "msr20"
    unit = "metres"
    origin = 3
    download = (
        "get MSR-Action3D's skeletons in real-world coordinates (20 actions, 567 clips, MSRAction3DSkeletonReal3D) "
        "from https://wangjiangb.github.io/my_data.html and put the txt files into <folder>/"
    )

    def listing(self) -> Listing:
        entries, problems, left_out = [], [], {}
        for path in self.files(".", "MSRAction3DSkeletonReal3D", suffix=".txt"):
            match = NAME.fullmatch(path.stem)
            if not match or not 1 <= int(match[2]) <= len(CLASSES):
                message = "not a clip of this data set: names are aAA_sSS_eEE_skeleton3D.txt, actions 1 to 20"
                problems.append(DataProblem(str(path), message, "move it out of the folder"))
            elif match[1] in LEFT_OUT:
                left_out[match[1]] = LEFT_OUT[match[1]]
            else:
                entries.append(ClipEntry(match[1], path, int(match[2]) - 1, subject=int(match[3])))
        return Listing(tuple(entries), CLASSES, left_out, tuple(problems))

    def read(self, path: Path) -> NDArray[np.float32]:
        rows = [line.split() for line in read_text(path).splitlines() if line.strip()]
        for row, values in enumerate(rows, start=1):
            if len(values) != 4:
                raise FileError(path, f"row {row} has {len(values)} values, 4 needed (x y z confidence)", REMEDY)
        if len(rows) % 20:
            raise FileError(path, f"{len(rows)} rows, a multiple of 20 joints needed", REMEDY)
        try:
            joints = np.array(rows, dtype=np.float64).reshape(-1, 20, 4)[..., :3]
        except ValueError as error:
            raise FileError(path, f"not all values are numbers ({error})", REMEDY) from None
        checked_clip(path, joints[..., None], self.skeleton)
        return checked_clip(path, fill_unseen(path, joints, self.skeleton)[..., None], self.skeleton)
