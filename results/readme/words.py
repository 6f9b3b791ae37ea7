"""How the pages say what records abbreviate: names of models and settings, figures, tables of Markdown."""

import textwrap
from collections.abc import Sequence

from fewdistill.results.readme.reference import TEACHER
from fewdistill.results.stats import Paired
from fewdistill.results.summary.rows import Row
from fewdistill.results.tables.files import DASH

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
    "joint_motion": "motions of joints",
    "bone_motion": "motions of bones",
    "two": "joints and bones",
    "four": "joints, bones and their motions",
}
DISTILLATIONS = {
    "none": "none",
    "tokens": "tokens",
    "d2m": "D2M",
    "both": "tokens and D2M",
    "dkd": "DKD",
    "self": "DKD by an equal",
    "assistant": "DKD by the assistant",
}
VARIANTS = {
    "support-level": "D2M without the query level",
    "episodes-alone": "D2M, both levels, in the episodes alone",
    "query-level": "D2M, query level alone",
    "random-teacher-head": "teacher's head never loaded",
    "teacher-in-train-mode": "teacher in train mode",
    "support-as-drawn": "support set taken for sorted",
    "shift-at-extraction": "last stream rolled in the cache alone",
    "labels-down-weighted": "cross entropy divided by 16",
    "released-loss": "released loss",
    "no-normalisation": "no input normalisation",
    "flips": "flips, where left and right make the class",
    "all-of-these": "all of these",
    "published": "turns as published, no mirror",
    "unmirrored": "no mirror",
    "window": "frames of half a clip or more",
    "decay": "weight decay 5e-4",
    "longer": "twice the epochs",
    "shorter": "two thirds of the epochs",
    "mirrored": "mirror",
    "turned": "turns by 15 and 60 degrees about x and y",
    "full": "as published",
    "lighter": "weight of non-target classes 1 instead of 8",
}
"""How the pages name what the suites' files abbreviate; a name that is not here stands as it is."""


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    every = [list(head), ["---"] * len(head), *map(list, lines)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in every)


def wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def model_name(row: Row) -> str:
    if row.setting.role == TEACHER:
        fusion, _, rest = row.setting.model.partition("(")
        if not rest:  # a single network
            return f"teacher: {_network_name(fusion)}"
        return f"teacher: {fusion} over {rest.partition(';')[0].replace('+', ', ').replace('rgb', 'RGB')}"
    return _network_name(row.setting.model)


def _network_name(model: str) -> str:
    """A skeleton network of the supervised protocol is named with its stream."""
    network, _, stream = model.rpartition("-")
    if network in MODELS:
        return f"{MODELS[network]}, {STREAMS.get(stream, stream)}"
    return MODELS.get(model, model)


def distillation_name(row: Row) -> str:
    return (
        DASH if row.setting.role == TEACHER else DISTILLATIONS.get(row.setting.distillation, row.setting.distillation)
    )


def variant_name(row: Row) -> str:
    """A teacher of other modalities says so by its own name."""
    name = row.setting.variant
    return VARIANTS.get(name, "" if row.setting.role == TEACHER and name.startswith(TEACHER) else name)


def against(row: Row) -> str:
    if not row.gain:
        return ""
    if not row.setting.variant:
        return "none"
    return "the suite's teacher" if row.setting.role == TEACHER else distillation_name(row)


def accuracy_text(row: Row) -> str:
    if not row.accuracy:
        return row.why
    return f"{100 * row.accuracy.mean:.2f} ± {100 * row.accuracy.half_width:.2f}"


def gain_text(row: Row) -> str:
    return span_text(row.gain.headline) if row.gain else ""


def span_text(found: Paired) -> str:
    return f"{100 * found.mean:+.2f} [{100 * found.low:.2f}, {100 * found.high:.2f}]"


def row_name(row: Row, distillation: str | None = None) -> str:
    variant = f"@{row.setting.variant}" if row.setting.variant else ""
    return f"{row.setting.model}/{distillation or row.setting.distillation}{variant}"
