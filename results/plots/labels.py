"""Where marks of almost equal cost stand, and their names: side by side, in nobody's way, each beside its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import pts_to_poststep
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from fewdistill.results.plots.style import SMALLEST, folded

Bar = tuple[float, float, float]
"""Where a mark and its bars stand: cost, lowest and highest accuracy."""

GAP = 6.0
"""Points between a name and what it names."""
_RINGS = 6


def side_by_side(centres: Sequence[float], sizes: Sequence[int], step: float) -> list[float]:
    """Middles of groups of marks, near their ``centres`` and in their order, so that no group reaches into another.

    A group of n marks is n steps wide. Groups that would meet stand close together about their common middle.
    """
    blocks: list[tuple[list[int], float, int]] = []
    for index in np.argsort(centres, kind="stable").tolist():
        members, middle, size = [index], centres[index], sizes[index]
        while blocks and blocks[-1][1] + blocks[-1][2] * step / 2 > middle - size * step / 2:
            before, other, many = blocks.pop()
            members, middle, size = [*before, *members], (many * other + size * middle) / (many + size), many + size
        blocks.append((members, middle, size))
    places = list(centres)
    for members, middle, size in blocks:
        start = middle - size * step / 2
        for index in members:
            places[index] = start + sizes[index] * step / 2
            start += sizes[index] * step
    return places


def name_clusters(axes: Axes, clusters: dict[str, list[Bar]], front: Line2D) -> None:
    """Write each model's name where it meets least of what stands; a line leads to its bars where others are near.

    front: a line of steps, which names keep off.
    """
    figure = axes.figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    gap, forth, back = GAP * figure.dpi / 72, axes.transData, axes.transData.inverted()
    bars = {name: [Bbox(forth.transform([(x, a), (x, b)])) for x, a, b in clusters[name]] for name in clusters}
    steps = Path(np.transpose(pts_to_poststep(*front.get_data())))
    stands = _Stands(axes.get_window_extent(renderer), gap, [], [forth.transform_path(steps)])
    for name in sorted(clusters, key=lambda name: clusters[name]):
        text = axes.text(
            *clusters[name][0][:2], folded(name, 22), fontsize=SMALLEST, ha="center", va="center",
            color="#333333", zorder=4, linespacing=1.0,
        )  # fmt: skip
        text.set_in_layout(False)
        size = text.get_window_extent(renderer)
        own, others = bars[name], [bar for other in bars if other != name for bar in bars[other]]
        spots = _spots(Bbox.union(own), size.width, size.height, gap)
        box = min(spots, key=lambda spot: stands.in_the_way(spot, own, others))[1]
        text.set_position(back.transform(((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)).tolist())
        stands.names.append(box)
        if lead := stands.lead(box, own, others):
            stands.lines.append(lead)
            x, y = back.transform(lead.vertices).T
            axes.plot(x, y, color="#777777", lw=0.5, zorder=1.5, scalex=False, scaley=False)


@dataclass
class _Stands:
    """What stands in a figure already, in pixels: its frame, names, and lines: the front's and those to names."""

    frame: Bbox
    gap: float
    names: list[Bbox]
    lines: list[Path]

    def in_the_way(self, spot: tuple[int, Bbox], own: Sequence[Bbox], others: Sequence[Bbox]) -> float:
        """What a name here would cover or leave, and, for less, what it could be mistaken to name; an area."""
        (ring, box), gap = spot, self.gap
        area = box.width * box.height
        covered = sum(_common(box, bar.padded(0.7 * gap)) for bar in [*own, *others])
        covered += sum(_common(box.padded(0.3 * gap), name) for name in self.names)
        mistaken = sum(_common(box.padded(2 * gap), bar.padded(0.3 * gap)) for bar in others)
        crossed = sum(line.intersects_bbox(box, filled=False) for line in self.lines)
        if lead := self.lead(box, own, others):
            crossed += sum(lead.intersects_bbox(name, filled=False) for name in [*self.names, *others])
        outside = area - _common(box, self.frame)
        return 10 * outside + 4 * covered + mistaken + area * crossed + 0.1 * ring * gap**2

    def lead(self, box: Bbox, own: Sequence[Bbox], others: Sequence[Bbox]) -> Path | None:
        """A line from a name to the nearest of its bars, where it stands far off or another's bar is about as near."""
        nearest = min(own, key=lambda bar: _apart(box, bar))
        apart = _apart(box, nearest)
        if apart <= 2.5 * self.gap and all(apart + self.gap < _apart(box, bar) for bar in others):
            return None
        return Path([_towards(box, nearest), _towards(nearest, box)])


def _spots(around: Bbox, width: float, height: float, gap: float) -> Iterator[tuple[int, Bbox]]:
    """Boxes of this size below, above and beside a cluster, the nearest first, each with the ring that it stands in."""
    centre = (around.x0 + around.x1) / 2
    for ring in range(_RINGS):
        away = gap * (1 + ring)
        inner = centre - width / 2, around.x0 - gap, around.x1 + gap - width
        outer = around.x1 + away, around.x0 - away - width
        for y in (around.y0 - away - height, around.y1 + away):
            yield from ((ring, Bbox.from_bounds(x, y, width, height)) for x in (*inner, *outer))
        middle = (around.y0 + around.y1 - height) / 2
        for x in outer:
            for y in (middle, around.y0 - gap - height, around.y1 + gap):
                yield ring, Bbox.from_bounds(x, y, width, height)


def _towards(box: Bbox, other: Bbox) -> tuple[float, float]:
    """The point of a box that lies nearest to another."""
    x, y = (
        float(np.clip((low + high) / 2, start, end))
        for low, high, start, end in ((other.x0, other.x1, box.x0, box.x1), (other.y0, other.y1, box.y0, box.y1))
    )
    return x, y


def _apart(one: Bbox, two: Bbox) -> float:
    """The distance between two boxes, 0 where they meet."""
    x = max(one.x0 - two.x1, two.x0 - one.x1, 0.0)
    y = max(one.y0 - two.y1, two.y0 - one.y1, 0.0)
    return float(np.hypot(x, y))


def _common(one: Bbox, two: Bbox) -> float:
    """Area that two boxes share."""
    both = Bbox.intersection(one, two)
    return float(both.width * both.height) if both else 0.0
