"""Problems of data sets, as values to list and as errors to raise."""

from dataclasses import dataclass
from pathlib import Path

from fewdistill.benchmark.runtime.errors import DataError

REPLACE = "copy it again or drop the video from the split lists"


@dataclass(frozen=True)
class DataProblem:
    """A problem of a data set: its place (a file, folder or file:line), what is wrong, and the remedy."""

    path: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}; {self.remedy}"


class FileError(DataError):
    """A DataError about one file or folder; `problem` holds its parts."""

    def __init__(self, path: Path | str, message: str, remedy: str = REPLACE) -> None:
        super().__init__(str(path), message, remedy)  # plain arguments, so that it survives pickling
        self.problem = DataProblem(str(path), message, remedy)

    def __str__(self) -> str:
        return str(self.problem)
