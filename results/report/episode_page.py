"""The episode viewer's page: one HTML file that opens without a network, from plain data. Knows no network and no disk.

Each video's frames are one picture, side by side, and stand once in the page however often they are shown.
"""

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

Outcome = Literal["right", "wrong", "tie"]

_RULES = {
    "attention": ("Attention", "share of the query {unit}'s attention to the class; even attention gives each {even}"),
    "alignment": ("Alignment", "share of the query's alignment with the class; one to one gives each {unit} {even}"),
    "nearest": ("Nearest frames", "share of the query's nearest matches; one to one gives each {unit} {even}"),
}


@dataclass(frozen=True)
class Strip:
    """The frames of a video as a network sees them, side by side in one JPEG."""

    jpeg: bytes
    frames: int


@dataclass(frozen=True)
class Link:
    """Frames of a query and frames of a class's video (a number within the class) that were matched; weight 0 to 1."""

    query: tuple[int, ...]
    video: int
    support: tuple[int, ...]
    weight: float


@dataclass(frozen=True)
class Matches:
    """The strongest links by query and class, strongest first.

    rule: "attention", "alignment" or "nearest"; size: frames in a tuple; even: the weight of each link to compare
    with, of even attention, or of frames matched one to one; part: of which of several heads, or "".
    """

    rule: str
    size: int
    links: tuple[tuple[tuple[Link, ...], ...], ...]
    even: float
    part: str = ""

    @property
    def title(self) -> str:
        """What these matches are."""
        over = {1: "", 2: " over pairs of frames", 3: " over triples of frames"}
        name = _RULES[self.rule][0] + over.get(self.size, f" over {self.size} frames")
        return f"{name}, {self.part}" if self.part else name

    @property
    def caption(self) -> str:
        """What its percentages are of."""
        unit = {1: "frame", 2: "pair", 3: "triple"}.get(self.size, "tuple")
        return _RULES[self.rule][1].format(unit=unit, even=percent(self.even))


@dataclass(frozen=True)
class Answer:
    """What one network says of one episode: logits by query and class, each query's outcome, what was matched.

    matches: None of a head that matches no frames.
    """

    logits: tuple[tuple[float, ...], ...]
    outcome: tuple[Outcome, ...]
    matches: tuple[Matches, ...] | None

    @property
    def probabilities(self) -> list[list[float]]:
        """Softmax of the logits, query by query."""
        found = []
        for logits in self.logits:
            powers = [math.exp(logit - max(logits)) for logit in logits]
            found.append([power / sum(powers) for power in powers])
        return found

    def predicted(self, query: int) -> int:
        """The class with the highest logit."""
        logits = self.logits[query]
        return logits.index(max(logits))


@dataclass(frozen=True)
class Episode:
    """One episode: class names, videos by class and by query, each query's class, and the networks' answers."""

    number: int
    classes: tuple[str, ...]
    support: tuple[tuple[str, ...], ...]
    query: tuple[str, ...]
    truth: tuple[int, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Network:
    """A network whose answers are shown. accuracy: its record's, 0 to 1; record: the record's key, "" without one."""

    name: str
    head: str
    accuracy: float | None = None
    record: str = ""


@dataclass(frozen=True)
class Page:
    """All that the page shows. chosen: in words, which episodes these are; strips: by video; notes: what is missing."""

    suite: str
    dataset: str
    shot: int
    total: int
    chosen: str
    networks: tuple[Network, ...]
    episodes: tuple[Episode, ...]
    strips: Mapping[str, Strip]
    notes: tuple[str, ...] = ()


def percent(share: float) -> str:
    """A share in whole percent, small ones with a digit."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{100 * share:.1f} %" if 0 < share < 0.0995 else f"{100 * share:.0f} %"


def render(page: Page) -> str:
    """The page's HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "breakable": _breakable, "base64": _base64}
    number = {video: place for place, video in enumerate(page.strips)}
    return environment.get_template("episode.html").render(
        page=page,
        number=number,
        right=_right,
        phrase=_phrase,
        frames=max(strip.frames for strip in page.strips.values()),
        data=[_matches(episode, number) for episode in page.episodes],
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _breakable(name: str) -> Markup:
    """A name that may be broken behind its slashes and underscores."""
    return Markup("<wbr>").join(re.split(r"(?<=[/_])", name))


def _right(answers: Sequence[Answer]) -> str:
    """Of these answers' queries, how many are right."""
    outcomes = [outcome for answer in answers for outcome in answer.outcome]
    return f"{outcomes.count('right')} of {len(outcomes)}"


def _phrase(link: Link, videos: int) -> str:
    """A link in words; frames are counted from 1, and so are the videos of a class that has several."""
    query, support = ("+".join(str(frame + 1) for frame in frames) for frames in (link.query, link.support))
    video = f" of video {link.video + 1}" if videos > 1 else ""
    return f"{query} → {support}{video} ({percent(link.weight)})".replace(" ", "\N{NO-BREAK SPACE}")


def _matches(episode: Episode, number: Mapping[str, int]) -> dict[str, Any]:
    """What the page's script draws: of each network, what it matched, by query and class."""
    return {
        "classes": episode.classes,
        "support": [[number[video] for video in videos] for videos in episode.support],
        "query": [number[video] for video in episode.query],
        "answers": [
            None
            if answer.matches is None
            else [
                {
                    "title": matches.title,
                    "caption": matches.caption,
                    "full": 1 if matches.rule == "attention" else matches.even,  # the weight drawn at full size
                    "links": [
                        [[(link.query, link.video, link.support, round(link.weight, 4)) for link in links]
                         for links in of_query]
                        for of_query in matches.links
                    ],
                }
                for matches in answer.matches
            ]
            for answer in episode.answers
        ],
    }  # fmt: skip
