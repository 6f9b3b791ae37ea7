"""TensorBoard: event files in the run folder, for ``tensorboard --logdir runs/<suite>/tracking/tensorboard``."""

import json
from collections.abc import Mapping

from fewdistill.benchmark.tracking.base import TRACKERS, Run, Tracker, Value, flat, numbers


@TRACKERS.register("tensorboard")
class TensorBoard(Tracker):
    """A folder of event files a run. One that goes on writes its curve again, in a new file that voids the older."""

    def open(self, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import

        self._run, folder = run, run.folder / "tensorboard" / run.name
        stands = any(folder.glob("events.out.tfevents.*"))
        self._writer = SummaryWriter(str(folder), purge_step=0 if stands else None)
        config = json.dumps(run.config, indent=1)
        self._writer.add_text("config", "\n".join(f"    {line}" for line in config.splitlines()), 0)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, status: str, summary: Mapping[str, Value]) -> None:
        from torch.utils.tensorboard.summary import hparams

        for name, value in numbers(summary).items():
            self._writer.add_scalar(name, value, 0)
        words = {"status": status} | {name: value for name, value in summary.items() if isinstance(value, str)}
        self._writer.add_text("end", "  \n".join(f"{name}: {value}" for name, value in words.items()), 0)
        if self._run.kind == "row":  # the columns of the HPARAMS page are told from all rows, not from the first one's
            for part in hparams(dict(flat(self._run.config)), {})[1:]:
                self._writer._get_file_writer().add_summary(part)
        self._writer.close()
