"""Backbones of students and teachers: torchvision's by short names, any timm model as ``timm/<model>``.

torchvision and timm take seconds to import, so they are imported where a network is built.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from fewdistill.students import StudentError
from fewdistill.students.registry import Registry, UnknownNameError

TIMM = "timm/"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PublishedWeights:
    """ImageNet weights of a trunk. name: what a record says. download: their state_dict; raises without a network.

    fetch: a shell command that saves them as ``file``.
    """

    name: str
    download: Callable[[], dict[str, Tensor]]
    fetch: str
    file: str


def _whole(model: nn.Module) -> nn.Module:
    return model


def _no_weights() -> PublishedWeights:
    raise StudentError('this backbone has no published weights: use weights = "random" or a state_dict file')


@dataclass(frozen=True)
class Backbone:
    """A published image classifier, and its part up to the pooling.

    classifier: the whole model at random weights, into which its published weights fit. strip: that model -> its trunk,
    (N, 3, H, W) -> (N, channels, h, w). published: its ImageNet weights; StudentError where there are none.
    mean, std: the input normalisation those weights expect, of pixels in [0, 1].
    """

    classifier: Callable[[], nn.Module]
    channels: int
    strip: Callable[[nn.Module], nn.Module] = _whole
    published: Callable[[], PublishedWeights] = _no_weights
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def build(self) -> nn.Module:
        """The trunk at random weights."""
        return self.strip(self.classifier())


class Backbones(Registry[Backbone]):
    """The catalogue; names that begin with ``timm/`` are looked up in timm."""

    def __getitem__(self, name: str) -> Backbone:
        return timm_trunk(name.removeprefix(TIMM)) if name.startswith(TIMM) else super().__getitem__(name)


BACKBONES = Backbones("backbone")


def _features(model: nn.Module) -> nn.Module:
    """What comes before the pooling of a torchvision classifier."""
    return model.features if hasattr(model, "features") else nn.Sequential(*list(model.children())[:-2])  # type: ignore[return-value]


def _torchvision(name: str, channels: int) -> Backbone:
    def classifier() -> nn.Module:
        import torchvision

        return torchvision.models.get_model(name)

    def published() -> PublishedWeights:
        import torchvision

        weights = torchvision.models.get_model_weights(name).DEFAULT
        file = weights.url.rsplit("/", 1)[-1]
        return PublishedWeights(
            file, lambda: dict(weights.get_state_dict(progress=False, check_hash=True)), f"curl -LO {weights.url}", file
        )

    return Backbone(classifier, channels, _features, published)


BACKBONES.register("resnet18")(_torchvision("resnet18", 512))
BACKBONES.register("resnet34")(_torchvision("resnet34", 512))
BACKBONES.register("resnet50")(_torchvision("resnet50", 2048))
BACKBONES.register("mobilenetv3_small")(_torchvision("mobilenet_v3_small", 576))
BACKBONES.register("mobilenetv3_large")(_torchvision("mobilenet_v3_large", 960))


class TimmTrunk(nn.Module):
    """A timm model's features as maps: square frames (N, 3, S, S) -> (N, channels, h, w), whatever its own layout is.

    Transformers lose their class and register tokens, and the rest takes its place in the grid again. Layers of a
    model's own head that timm keeps without a classifier are not run, but their parameters are counted.
    """

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model = model
        self.name = name

    def forward(self, frames: Tensor) -> Tensor:
        try:
            features = self.model.forward_features(frames)  # type: ignore[operator]
        except AssertionError as error:  # how timm's transformers refuse a size
            raise StudentError(f"timm/{self.name} cannot take frames of {frames.shape[-1]} pixels: {error}") from error
        if not isinstance(features, Tensor) or features.ndim not in (3, 4):
            raise StudentError(f"timm/{self.name} gives no single map or list of tokens: it cannot be a trunk")
        if features.ndim == 3:
            cells = features[:, getattr(self.model, "num_prefix_tokens", 0) :]
            side = round(cells.shape[1] ** 0.5)
            return cells.transpose(1, 2).unflatten(2, (side, side))
        if getattr(self.model, "output_fmt", "NCHW") == "NHWC":
            return features.permute(0, 3, 1, 2)
        return features


@lru_cache
def timm_trunk(name: str) -> Backbone:
    """The trunk of a timm model (``name`` may carry a weight tag: model.tag). UnknownNameError names the nearest."""
    import timm

    architecture = name.partition(".")[0]
    if architecture not in timm.list_models():
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        raise UnknownNameError(
            f"timm has no model {name!r}: " + (f"did you mean {', '.join(near)}?" if near else "see timm.list_models()")
        )
    try:
        config = timm.get_pretrained_cfg(name) or timm.get_pretrained_cfg(architecture)
    except RuntimeError as error:
        raise UnknownNameError(f"timm/{name}: {error}") from error
    if config is None or not timm.is_model_pretrained(name):
        norm: tuple[tuple[float, ...], ...] = (IMAGENET_MEAN, IMAGENET_STD)
    else:
        norm = config.mean, config.std

    def classifier() -> nn.Module:
        return _timm_model(name)

    def download() -> dict[str, Tensor]:
        return timm.create_model(name, pretrained=True).state_dict()

    def published() -> PublishedWeights:
        if not timm.is_model_pretrained(name):
            return _no_weights()
        file = f"{name}.safetensors"
        script = (
            f"import timm, safetensors.torch as s; s.save_model(timm.create_model('{name}', pretrained=True), '{file}')"
        )
        tag = f"timm/{architecture}.{config.tag}" if config is not None and config.tag else f"timm/{name}"
        return PublishedWeights(tag, download, f'python -c "{script}"', file)

    def strip(model: nn.Module) -> nn.Module:
        model.reset_classifier(0, "")  # type: ignore[operator]
        return TimmTrunk(model, name)

    with torch.device("meta"):
        channels = int(_timm_model(name).num_features)  # type: ignore[arg-type]
    return Backbone(classifier, channels, strip, published, *norm)


def _timm_model(name: str) -> nn.Module:
    """The model at random weights, taking any size of frame where timm can make it so."""
    import timm

    options: dict[str, Any] = {"dynamic_img_size": True}  # of vision transformers; the others know no such option
    try:
        return timm.create_model(name, pretrained=False, **options)
    except TypeError:
        return timm.create_model(name, pretrained=False)
