"""Northwestern-UCLA Multiview Action 3D (Wang et al., CVPR 2014), one JSON file a clip."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.problem import DataProblem, FileError
from fewdistill.benchmark.data.skeletons.layout import LAYOUTS, ClipEntry, Layout, Listing
from fewdistill.benchmark.data.skeletons.parse import REMEDY, checked_clip, fill_unseen, numbers, read_json

NAME = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)")
CLASSES = {
    1: "pick up with one hand", 2: "pick up with two hands", 3: "drop trash", 4: "walk around", 5: "sit down",
    6: "stand up", 8: "donning", 9: "doffing", 11: "throw", 12: "carry",
}  # fmt: skip
LABEL = {action: label for label, action in enumerate(CLASSES)}


@LAYOUTS.register("nw_ucla")
class NWUCLA(Layout):
    """`all_sqe/aAA_sSS_eEE_vVV.json` with file_name, skeletons (T x 20 x 3, metres) and label (1 to 10).

    Three cameras saw each performance; a joint at (0, 0, 0) was not seen and is filled in (`parse.fill_unseen`).
    """

    topology = "nw_ucla20"
    unit = "metres"
    origin = 1
    download = (
        "get NW-UCLA (10 actions, 1,484 clips) from https://wangjiangb.github.io/my_data.html, as the JSON files "
        "`all_sqe` that CTR-GCN's page links to, and put them into <folder>/all_sqe/"
    )

    def listing(self) -> Listing:
        entries, problems = [], []
        for path in self.files("all_sqe", ".", suffix=".json"):
            match = NAME.fullmatch(path.stem)
            action, subject, _, view = map(int, match.groups()) if match else (0, 0, 0, 0)
            if action in LABEL:
                entries.append(ClipEntry(path.stem, path, LABEL[action], subject=subject, view=view))
            else:
                message = "not a clip of this data set: names are aAA_sSS_eEE_vVV.json, actions 1-6, 8, 9, 11, 12"
                problems.append(DataProblem(str(path), message, "move it out of the folder"))
        return Listing(tuple(entries), tuple(CLASSES.values()), problems=tuple(problems))

    def read(self, path: Path) -> NDArray[np.float32]:
        table = read_json(path)
        for key in ("file_name", "skeletons", "label"):
            if key not in table:
                raise FileError(path, f"{key!r} is missing", REMEDY)
        if table["file_name"] != path.stem:
            raise FileError(path, f"holds the clip {str(table['file_name'])[:40]!r}", "give it its own name back")
        match = NAME.fullmatch(path.stem)
        if match and table["label"] != LABEL[int(match[1])] + 1:
            message = f"label {str(table['label'])[:40]}, but action {match[1]} has {LABEL[int(match[1])] + 1}"
            raise FileError(path, message, REMEDY)
        joints = numbers(path, "skeletons", table["skeletons"], (None, 20, 3))
        checked_clip(path, joints[..., None], self.skeleton)
        return checked_clip(path, fill_unseen(path, joints, self.skeleton)[..., None], self.skeleton)
