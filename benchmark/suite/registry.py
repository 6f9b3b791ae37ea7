"""All catalogues in one place, and the plug-ins that come from elsewhere: a package's entry points, a suite's files."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from fewdistill.benchmark.data.skeletons import LAYOUTS
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.tracking import TRACKERS
from fewdistill.students.distill import DISTILLERS
from fewdistill.students.heads import HEADS
from fewdistill.students.registry import Registry
from fewdistill.students.skeletons import SKELETONS
from fewdistill.students.trunks import BACKBONES
from fewdistill.teachers.fusions import FUSIONS
from fewdistill.teachers.modalities import EXPERTS

PROTOCOLS: Registry[Any] = Registry("protocol")
"""Protocols by the name that suites give; see graph.protocol.SuiteProtocol."""

CATALOGUES: dict[str, Iterable[str]] = {
    "protocols": PROTOCOLS,
    "students": BACKBONES,
    "skeletons": SKELETONS,
    "heads": HEADS,
    "distillers": DISTILLERS,
    "fusions": FUSIONS,
    "experts": EXPERTS,
    "layouts": LAYOUTS,
    "trackers": TRACKERS,
}


_CODE: dict[tuple[str, str], str] = {}
"""sha256 of the file that brought a plug-in, by catalogue and name; shipped ones and those of packages have none."""


def load_plugins(files: Iterable[str] = ()) -> None:
    """Import every module named by the entry-point group ``fewdistill.plugins``, and the given files of Python.

    Their decorators do the rest. UserError names a file that is missing, that fails, or that registers nothing.
    """
    for point in entry_points(group="fewdistill.plugins"):
        point.load()
    for file in files:
        _load_file(file)


def code_of(catalogue: str, name: str) -> dict[str, str]:
    """What a record's identity says of a plug-in's code: the hash of a suite's own file, nothing of any other."""
    found = _CODE.get((catalogue, name))
    return {} if found is None else {"code": found}


def _load_file(file: str) -> None:
    path = Path(file).resolve()
    name = path.stem
    if path.suffix != ".py" or not path.is_file() or not name.isidentifier():
        raise UserError(f"plugins: {file}: no such file of Python; paths are taken from where the command runs")
    there = importlib.util.find_spec(name)
    if there is not None and (there.origin is None or Path(there.origin).resolve() != path):
        raise UserError(f"plugins: {file}: Python has another module {name!r} ({there.origin}); rename the file")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # so that worker processes, which inherit it, find the module by its name
    code = hashlib.sha256(path.read_bytes()).hexdigest()
    if name not in sys.modules:
        before = {(kind, known) for kind, names in CATALOGUES.items() for known in names}
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever somebody's own code raises
            raise UserError(f"plugins: {file}: {type(error).__name__}: {error}") from error
        brought = {(kind, known) for kind, names in CATALOGUES.items() for known in names} - before
        if not brought:
            raise UserError(f"plugins: {file}: registers nothing; decorate it, for example @HEADS.register({name!r})")
        _CODE.update(dict.fromkeys(brought, code))
