"""All catalogues in one place, and the plug-ins that other packages bring through the entry-point group."""

from collections.abc import Iterable
from importlib.metadata import entry_points

from benchmark.data.skeletons import LAYOUTS
from students.distill import DISTILLERS
from students.heads import HEADS
from students.trunks import BACKBONES
from teachers.fusions import FUSIONS
from teachers.modalities import EXPERTS

CATALOGUES: dict[str, Iterable[str]] = {
    "students": BACKBONES,
    "heads": HEADS,
    "distillers": DISTILLERS,
    "fusions": FUSIONS,
    "experts": EXPERTS,
    "layouts": LAYOUTS,
}


def load_plugins() -> None:
    """Import every module named by the entry-point group ``fewdistill.plugins``; their decorators do the rest."""
    for point in entry_points(group="fewdistill.plugins"):
        point.load()
