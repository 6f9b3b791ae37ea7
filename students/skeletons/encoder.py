"""Joint coordinates to the tokens that fusions and heads read: a skeleton network in the place of an image network."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fewdistill.students import StudentError
from fewdistill.students.clip_encoder import ClipEncoder
from fewdistill.students.skeletons import SKELETONS
from fewdistill.students.skeletons.graph import JointGraph


class JointEncoder(ClipEncoder):
    """joints float32 (N, 3, frames, V, M) -> {branch: tokens float32 (N, T, width)}.

    The network's tokens (N, T', C) are averaged over T stretches of time (adaptive average pooling), then one linear
    map per branch leads to ``width``. Token t so stands for the t-th of T equal parts of the clip, where an image
    network's stands for one frame of it. The network's classifier is left out.

    network: a name in SKELETONS; bodies: M. Raises StudentError where joints or tokens do not fit.
    """

    def __init__(
        self,
        network: str,
        graph: JointGraph,
        width: int,
        branches: tuple[str, ...],
        *,
        frames: int,
        bodies: int = 1,
        token_norm: bool = False,
    ) -> None:
        super().__init__()
        self.width = width
        self.token_norm = token_norm
        self.frames = frames
        self.network = SKELETONS[network](graph, 1, bodies=bodies)
        self.network.classifier = nn.Identity()  # type: ignore[assignment]
        self.branches = nn.ModuleDict({name: nn.Linear(self.network.width, width) for name in branches})

    def forward(self, joints: Tensor) -> dict[str, Tensor]:
        """joints (N, 3, frames, V, M) -> {branch: tokens (N, T', width)}, as many as the network gives."""
        return self.tokens(self.network.tokens(joints))

    def clips(self, batch: Tensor, clip_frames: int, micro_frames: int = 0) -> dict[str, Tensor]:
        """See the class, T = clip_frames; StudentError where the network gives fewer tokens."""
        return self.tokens(self.features(batch, clip_frames, micro_frames))

    def features(self, batch: Tensor, clip_frames: int, micro_frames: int = 0) -> Tensor:
        """The network's tokens averaged over stretches of time, (N, clip_frames, channels); see ``clips``."""
        given = self.network.token_frames(self.frames)
        if given < clip_frames:
            raise StudentError(
                f"{self.frames} frames of joints make {given} tokens, {clip_frames} are needed: give the network at "
                f"least {-(-clip_frames * self.frames // given)} frames"
            )
        if micro_frames and self.training and torch.is_grad_enabled():
            groups = batch.split(max(1, micro_frames // self.frames))
            found = torch.cat([checkpoint(self.network.tokens, group, use_reentrant=False) for group in groups])
        else:
            found = self.network.tokens(batch)
        return F.adaptive_avg_pool1d(found.transpose(1, 2), clip_frames).transpose(1, 2)

    def rows(self, clips: int, clip_frames: int) -> int:
        """A row a clip."""
        return clips

    def example(self, clips: int, clip_frames: int, image_size: int) -> Tensor:
        """joints (clips, 3, frames, V, M)."""
        network = self.network
        return torch.empty(clips, network.channels, self.frames, network.graph.joints, network.bodies, device="meta")
