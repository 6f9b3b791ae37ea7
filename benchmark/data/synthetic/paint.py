"""Colour: materials with patterns, light, and textures for walls and floors. Colours are float RGB in [0, 1]."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.synthetic.solids import Surface

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Materials:
    """Two colours (N, 3) each and the pattern they form: waves along and across the solid (N,), with offsets (N,)."""

    first: Floats
    second: Floats
    along: Floats
    across: Floats
    offset: Floats


def plain(colour: Floats) -> Materials:
    """One material without a pattern."""
    return Materials(colour[None], colour[None], np.zeros(1), np.zeros(1), np.zeros(1))


def stack(*materials: Materials) -> Materials:
    """All materials of several groups, in order."""
    names = ("first", "second", "along", "across", "offset")
    return Materials(*(np.concatenate([getattr(m, name) for m in materials]) for name in names))


def draw_colour(rng: np.random.Generator) -> Floats:
    """A random colour (3,): any hue, from grey to vivid, from dark to bright."""
    hue, saturation, value = rng.uniform(0, 6), rng.beta(1.3, 1.3), rng.uniform(0.2, 1.0)
    wheel = np.clip(np.abs((hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return value * (1 - saturation * (1 - wheel))


def draw_cloth(rng: np.random.Generator) -> Materials:
    """A random cloth: plain, striped along or across, or checked."""
    first, second = draw_colour(rng), draw_colour(rng)
    kind, waves, offset = rng.integers(4), rng.uniform(1.5, 4.0, 2), rng.uniform(0, np.pi)
    along, across = waves * ((0, 0), (1, 0), (0, 1), (1, 1))[kind]
    return Materials(
        first[None], (first if kind == 0 else second)[None], np.array([along]), np.array([across]), np.array([offset])
    )


def shade(
    surface: Surface, materials: Materials, light: Floats, ambient: float, head: int, face: Floats, hair: Floats
) -> Pixels:
    """Colour and cover of every pixel: float32 (T, S, S, 4), colours lit from the unit direction ``light`` (3,) of
    the camera frame. ``head`` is the solid with a face: it shows ``hair`` (3,) on top and on the side that looks away
    from ``face`` (T, 3)."""
    pixel = np.flatnonzero(surface.owner >= 0)
    owner, frame = surface.owner.ravel()[pixel], pixel // surface.owner[0].size
    along, across = surface.along.ravel()[pixel], surface.across.ravel()[pixel]

    # Pattern: the sign of a product of waves; a wave of rate 0 is 1 everywhere.
    rate_along, rate_across, offset = (
        np.pi * wave.astype(np.float32)[owner]
        for wave in (2 * materials.along, materials.across, materials.offset / np.pi)
    )
    waves = np.cos(rate_along * along) * np.cos(rate_across * across + offset * (rate_across > 0))
    colours = np.concatenate([materials.first, materials.second, hair[None]]).astype(np.float32)
    which = np.where(waves < 0, owner + len(materials.first), owner)

    side, towards = surface.sideways[frame, owner], -np.sqrt(1 - across**2)

    def facing(direction: Floats) -> Pixels:
        """Cosine between the surface's normal and a direction (..., 3)."""
        x, y, z = np.moveaxis(direction.astype(np.float32), -1, 0)
        return across * (side[:, 0] * x + side[:, 1] * y) + towards * z

    at_back = (facing(face[frame]) < 0.15) | (along > 0.8)
    which[(owner == head) & at_back] = len(colours) - 1
    lit = np.float32(ambient) + np.float32(1 - ambient) * np.maximum(facing(light), 0)
    out = np.zeros((surface.owner.size, 4), np.float32)
    out[pixel, :3] = colours[which] * lit[:, None]
    out[pixel, 3] = 1.0
    return out.reshape(*surface.owner.shape, 4)


def draw_texture(rng: np.random.Generator, tile: int = 128) -> Pixels:
    """A random wall or floor: clouds of several sizes between two colours, sometimes stripes or tiles, and some
    rectangles and discs of other colours (posters, furniture, windows). float32 (tile, tile, 3)."""
    clouds = np.zeros((tile, tile), np.float32)
    for cells in (3, 7, 17, 40):
        noise = rng.random((cells, cells), np.float32)
        clouds += cv2.resize(noise, (tile, tile), interpolation=cv2.INTER_CUBIC) * cells**-0.6
    clouds = (clouds - clouds.min()) / np.ptp(clouds)
    one, other, third = (draw_colour(rng).astype(np.float32) for _ in range(3))
    contrast = rng.uniform(0.25, 0.9)
    image = one + clouds[..., None] * contrast * (other - one)
    kind, period, width = rng.integers(4), rng.integers(6, 28), rng.uniform(0.15, 0.5)
    lines = (np.arange(tile) % period) < width * period
    pattern = (np.zeros_like(lines)[:, None] | lines, lines[:, None] | lines, lines[:, None] ^ lines)
    if kind < 3:
        image[pattern[kind]] += rng.uniform(0.2, 0.6) * (third - image[pattern[kind]])
    for _ in range(rng.integers(0, 7)):
        colour = draw_colour(rng).tolist()
        (x, y), (w, h) = rng.integers(0, tile, 2).tolist(), rng.integers(6, 36, 2).tolist()
        if rng.random() < 0.7:
            cv2.rectangle(image, (x, y), (x + w, y + h), colour, cv2.FILLED)
        else:
            cv2.circle(image, (x, y), w // 2, colour, cv2.FILLED, cv2.LINE_AA)
    return image.clip(0, 1)
