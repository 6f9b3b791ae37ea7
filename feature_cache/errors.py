"""The exceptions of this package."""

from pathlib import Path


class CacheError(Exception):
    """A cache that cannot be read, written or opened as asked; the message names the file and says what to do."""


class InUseError(CacheError):
    """A folder that another process holds."""


class DamagedError(CacheError):
    """A file that is missing or not what was written. path: that file; reason: what is wrong with it, in words."""

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(path, reason, remedy)  # plain arguments, so that it survives pickling
        self.path = path
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; {self.remedy}"
