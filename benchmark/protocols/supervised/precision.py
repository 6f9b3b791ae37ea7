"""``bf16 = "auto"`` of a suite of skeleton networks, see benchmark.precision."""

from functools import partial
from typing import TypeVar

import numpy as np

from fewdistill.benchmark.data.skeletons.dataset import SkeletonPlace
from fewdistill.benchmark.runtime.probe import Precision, precision_of
from fewdistill.benchmark.runtime.progress import bar
from fewdistill.benchmark.training.precision import probed

P = TypeVar("P", bound=SkeletonPlace)


def settled(bench: P, stream: str) -> P:
    """The place of the suite with the names of its bfloat16 networks for "auto", as probes of the run folder tell."""
    networks = dict.fromkeys(network for _, suite in bench.suite.versions() for network in suite.networks)
    folder, taken = bench.runs / "precision", []
    with bar("probe of bfloat16", "networks") as tick:
        for done, network in enumerate(networks, start=1):
            path = folder / f"{network}-{bench.recipe.frames}frames.json"
            if probed(path, partial(_measured, bench, network, stream), bench.device)["bf16"]:
                taken.append(network)
            tick(done, len(networks))
    return bench.with_suite(bench.suite.model_copy(update={"bf16": tuple(taken)}), "")


def _measured(bench: SkeletonPlace, network: str, stream: str) -> Precision:
    """One training batch of the network's own, again and again."""
    places = np.resize(bench.parts["train"], bench.suite.recipe.batch)
    joints = bench.batch(places, stream)
    return precision_of(bench.new_network(network, 0).to(bench.device), joints)
