"""A training step of CTR-GCN on a batch of NW-UCLA's shape, beside the released formulation of the network."""

import torch
import torch.nn.functional as F

from fewdistill.benchmark.cost.published_gcn import published
from fewdistill.benchmark.data.skeletons.topology import topology
from fewdistill.students.skeletons import SKELETONS, JointGraph
from tools.speed.cases import CASES, Bench, Case, Sample, Side, timed

_CLASSES, _FRAMES = 10, 52


def _training(ours: bool, bf16: bool = False) -> Side:
    """Forward and backward of one batch, without the update."""

    def side(bench: Bench) -> Sample:
        skeleton, clips = topology("nw_ucla20"), bench.sizes.skeleton_clips
        graph = JointGraph(len(skeleton.joints), skeleton.edges, skeleton.centre)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = SKELETONS["ctr_gcn"](graph, _CLASSES, bodies=1)
            joints = torch.randn(clips, 3, _FRAMES, graph.joints, 1)
            labels = torch.randint(_CLASSES, (clips,))
        if not ours:
            network = published(network)
        with torch.inference_mode():
            said = network.eval()(joints).numpy()
        network.train()

        def work() -> None:
            network.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = F.cross_entropy(network(joints), labels)
            loss.backward()

        return Sample(timed(bench.sizes, work), clips, values=said)

    return side


CASES.register("training step: CTR-GCN")(
    Case(
        "clip",
        {
            "plain": _training(ours=False),
            "ours": _training(ours=True),
            "plain, bfloat16": _training(ours=False, bf16=True),
            "ours, bfloat16": _training(ours=True, bf16=True),
        },
        tolerance=1e-4,
    )
)
