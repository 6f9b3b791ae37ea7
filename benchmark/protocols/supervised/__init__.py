"""Supervised classification of skeleton clips, with distillation in stages and sums of streams."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from fewdistill.benchmark.graph.protocol import OpenedSuite, RunOptions
from fewdistill.benchmark.suite.registry import PROTOCOLS


class Supervised:
    """Networks on the test clips of the classes they were trained on; see graph.protocol.SuiteProtocol."""

    def model(self, values: Mapping[str, Any]) -> type[BaseModel]:
        from fewdistill.benchmark.protocols.supervised.suite import SkeletonSuite

        return SkeletonSuite

    def open(self, suite: Any, options: RunOptions) -> OpenedSuite:
        from fewdistill.benchmark.protocols.supervised.cells import open_supervised

        return open_supervised(suite, options)


PROTOCOLS.register("supervised")(Supervised())
