"""Few-shot episodes: of videos, and of skeleton clips."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from fewdistill.benchmark.graph.protocol import OpenedSuite, RunOptions
from fewdistill.benchmark.suite.registry import PROTOCOLS


class Episodic:
    """Networks on frozen episodes of classes that nobody trained on; see graph.protocol.SuiteProtocol.

    A suite whose data name a layout is of skeleton clips, any other of videos.
    """

    def model(self, values: Mapping[str, Any]) -> type[BaseModel]:
        from fewdistill.benchmark.protocols.episodic.skeleton_suite import SkeletonEpisodicSuite
        from fewdistill.benchmark.protocols.episodic.suite import Suite

        data = values.get("data")
        return SkeletonEpisodicSuite if isinstance(data, Mapping) and "layout" in data else Suite

    def open(self, suite: Any, options: RunOptions) -> OpenedSuite:
        from fewdistill.benchmark.protocols.episodic.opening import open_skeletons, open_videos
        from fewdistill.benchmark.protocols.episodic.suite import Suite

        return open_videos(suite, options) if isinstance(suite, Suite) else open_skeletons(suite, options)


PROTOCOLS.register("episodic")(Episodic())
