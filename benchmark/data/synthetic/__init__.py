"""The embedded data set: articulated people performing 48 actions, filmed with depth and joints, written as files."""

from fewdistill.benchmark.data.synthetic.spec import EmbeddedSpec
from fewdistill.benchmark.data.synthetic.write import generate

__all__ = ["EmbeddedSpec", "generate"]
