"""A backbone of two convolutions, for tests of what surrounds training and not of networks."""

from torch import nn

from fewdistill.students.trunks import BACKBONES, Backbone


def pico() -> nn.Module:
    """Frames (N, 3, H, W) -> maps (N, 16, H / 8, W / 8)."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=4, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
    )  # fmt: skip


BACKBONES.register("pico")(Backbone(pico, channels=16))
