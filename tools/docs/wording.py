"""Names and figures as the pages print them, and Markdown tables."""

import textwrap
from collections.abc import Sequence

from fewdistill.results.stats import Paired
from fewdistill.results.summary.rows import Row
from tools.docs.reference import TEACHER

DASH = "\N{EN DASH}"

MODELS = {
    "resnet18": "ResNet18",
    "mobilenetv3_large": "MobileNetV3-large",
    "mobilenetv3_small": "MobileNetV3-small",
    "ctr_gcn": "CTR-GCN",
    "dke_gcn": "DKE-GCN",
    "light_dke_gcn": "light-DKE-GCN",
}
STREAMS = {
    "joint": "joints",
    "bone": "bones",
    "joint_motion": "joint motion",
    "bone_motion": "bone motion",
    "two": "2 streams",
    "four": "4 streams",
}
DISTILLATIONS = {
    "none": "none",
    "tokens": "tokens",
    "d2m": "D2M",
    "both": "tokens and D2M",
    "dkd": "DKD",
    "self": "DKD, same-size teacher",
    "assistant": "DKD, teacher assistant",
}
VARIANTS = {
    "support-level": "support level only",
    "episodes-alone": "both levels, in episodic training only",
    "query-level": "query level only",
    "random-teacher-head": "teacher's head never loaded",
    "teacher-in-train-mode": "teacher in train mode",
    "support-as-drawn": "shuffled support set treated as sorted",
    "shift-at-extraction": "last stream shifted in the cache, not in training",
    "labels-down-weighted": "cross entropy divided by 16",
    "released-loss": "released loss",
    "no-normalisation": "no input normalisation",
    "flips": "random flips, where left and right define the class",
    "all-of-these": "all of these",
    "published": "rotation as published, no mirroring",
    "unmirrored": "no mirroring",
    "window": "frames from half of the clip or more",
    "decay": "weight decay 5e-4",
    "longer": "twice the epochs",
    "shorter": "two thirds of the epochs",
    "mirrored": "mirroring",
    "turned": "rotation by 15 and 60 degrees about x and y",
    "full": "as published",
    "lighter": "weight of non-target classes 1 instead of 8",
    "all-four": "all four",
    "with-rgb-and-depth": "with RGB and depth",
    "skeleton-longer": "5 epochs",
    "skeleton-longer-with-rgb-and-depth": "5 epochs, with RGB and depth",
    "joints": "CTR-GCN, 4 epochs",
    "joints-with-rgb-and-depth": "CTR-GCN, 4 epochs, with RGB and depth",
    "joints-light-dke-gcn": "light-DKE-GCN",
    "joints-longer": "light-DKE-GCN, 16 epochs",
    "joints-longer-with-rgb-and-depth": "light-DKE-GCN, 16 epochs, with RGB and depth",
}
"""What the suite files abbreviate; a name that is missing here is printed as it is."""


def model_name(row: Row) -> str:
    """ "teacher: MFM over RGB, depth", "light-DKE-GCN, joints"."""
    network, _, rest = row.setting.model.partition("(")
    if rest:
        name = f"{network} over {rest.partition(';')[0].replace('+', ', ').replace('rgb', 'RGB')}"
    else:
        stem, _, stream = network.rpartition("-")
        name = f"{MODELS[stem]}, {STREAMS.get(stream, stream)}" if stem in MODELS else MODELS.get(network, network)
    return f"teacher: {name}" if row.setting.role == TEACHER else name


def distillation_name(row: Row) -> str:
    if row.setting.role == TEACHER:
        return DASH
    return DISTILLATIONS.get(row.setting.distillation, row.setting.distillation)


def variant_name(row: Row) -> str:
    """A variant whose teacher's modalities already say what differs has no other name."""
    name = row.setting.variant
    return VARIANTS.get(name, "" if row.setting.role == TEACHER and name.startswith(TEACHER) else name)


def label(row: Row) -> str:
    """Model, distillation and variant in one cell."""
    distillation = "" if row.setting.role == TEACHER else distillation_name(row).replace("none", "no distillation")
    return "; ".join(filter(None, [model_name(row), distillation, variant_name(row)]))


def percent(row: Row) -> str:
    """Accuracy in percent with its closed 95 % half-width, or the reason why there is none."""
    return f"{100 * row.accuracy.mean:.2f} ± {100 * row.accuracy.half_width:.2f}" if row.accuracy else row.why


def span(found: Paired) -> str:
    """A difference in points with its 95 % interval."""
    return f"{100 * found.mean:+.2f} [{100 * found.low:.2f}, {100 * found.high:.2f}]"


def gain(row: Row) -> str:
    return span(row.gain.headline) if row.gain else ""


def at_shot(shot: int) -> str:
    return f"{shot} shot{'' if shot == 1 else 's'}"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, without the columns that are empty or dashes in every line."""
    kept = [i for i in range(len(head)) if any(line[i] not in ("", DASH) for line in lines)]
    every = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line[i].replace('|', chr(92) + '|') for i in kept)} |" for line in every)


def wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)
