"""Everything around the figure: a floor and a wall that move with the camera, things that move, things in the way."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.synthetic.camera import Camera, rays
from fewdistill.benchmark.data.synthetic.paint import Materials, Pixels, draw_cloth, draw_texture, stack
from fewdistill.benchmark.data.synthetic.solids import FAR, Solids

Floats = NDArray[np.float64]

_LOUDNESS = 0.35
_BACKDROP = 30.0  # metres to the wall where a ray misses it


def draw_background(
    rng: np.random.Generator, camera: Camera, figure: Floats, size: int
) -> tuple[Pixels, NDArray[np.float32]]:
    """The empty room: colours float32 (T, S, S, 3) and distances along z float32 (T, S, S) in metres.

    ``figure`` (T, 3): where the figure is in the world; its shadow falls on the floor there.
    """
    frames = len(camera.position)
    wall_texture, floor_texture = (_muted(draw_texture(rng)) for _ in range(2))
    wall_scale, floor_scale = rng.uniform(25, 60, 2).tolist()  # texels a metre
    corners = rng.uniform(0, 128, 4).tolist()
    shadow, lamp = rng.uniform(0.2, 0.7), rng.uniform(-0.35, 0.35, 2)
    behind, turn = rng.uniform(1.2, 3.5), np.radians(rng.uniform(-22, 22))

    forwards = camera.rotation[0, 2] * (1, 0, 1)
    forwards /= np.linalg.norm(forwards)
    c, s = np.cos(turn), np.sin(turn)
    normal = np.array([c * forwards[0] + s * forwards[2], 0.0, c * forwards[2] - s * forwards[0]])
    wall_offset = (figure.mean(axis=0) * (1, 0, 1)) @ normal + behind

    # Single precision from here on: millions of numbers, looked at to a few millimetres.
    position, normal = camera.position.astype(np.float32), normal.astype(np.float32)
    rotation, figure, far = camera.rotation.astype(np.float32), figure.astype(np.float32), np.float32(FAR)
    world = rays(size).astype(np.float32) @ rotation  # (T, P, 3); the camera's z grows by 1 along each ray
    toward = world @ normal
    room = (np.float32(wall_offset) - position @ normal)[:, None]
    wall = np.where(toward > 1e-3, room / np.maximum(toward, 1e-3), far)
    floor = np.where(world[..., 1] < -1e-3, position[:, None, 1] / np.maximum(-world[..., 1], 1e-3), far)
    depth = np.minimum(np.minimum(wall, floor), np.float32(_BACKDROP))
    hit = position[:, None] + depth[..., None] * world

    def look_up(texture: Pixels, u: Pixels, v: Pixels) -> Pixels:
        u, v = (grid.reshape(frames * size, size) for grid in (u, v))
        texels = cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        return texels.astype(np.float32, copy=False).reshape(frames, -1, 3)

    sideways = hit[..., 0] * normal[2] - hit[..., 2] * normal[0]
    on_wall = look_up(wall_texture, corners[0] + wall_scale * sideways, corners[1] - wall_scale * hit[..., 1])
    on_floor = look_up(floor_texture, corners[2] + floor_scale * hit[..., 0], corners[3] + floor_scale * hit[..., 2])
    reach = (hit[..., 0] - figure[:, None, 0]) ** 2 + (hit[..., 2] - figure[:, None, 2]) ** 2
    on_floor *= (1 - np.float32(shadow) * np.exp(-reach / np.float32(2 * 0.22**2)))[..., None]
    image = np.where((floor < wall)[..., None], on_floor, on_wall).reshape(frames, size, size, 3)
    slope = np.linspace(-1, 1, size, dtype=np.float32)
    image *= (1 + np.float32(lamp[0]) * slope[:, None] + np.float32(lamp[1]) * slope)[..., None]
    return image, depth.astype(np.float32).reshape(frames, size, size)


def _muted(texture: Pixels) -> Pixels:
    """A texture (H, W, 3) with a third of its contrast and colour left: rooms are quieter than clothes."""
    grey = texture.mean(dtype=np.float64)
    return (grey + _LOUDNESS * (texture - grey)).astype(texture.dtype)


def draw_things(rng: np.random.Generator, camera: Camera, distance: float) -> tuple[Solids, Materials]:
    """One to three balls and bars that drift, bob and tumble around the figure, and often a post, a rail or a leaning
    board in front of it. ``distance``: from the camera to the figure in metres."""
    frames = len(camera.position)
    time = np.linspace(-0.5, 0.5, frames)
    ends: list[tuple[Floats, Floats]] = []
    radii: list[float] = []
    for _ in range(rng.integers(1, 4)):
        depth = distance * rng.uniform(0.65, 1.35)
        middle = np.array([rng.uniform(-0.5, 0.5) * depth, rng.uniform(-0.45, 0.3) * depth, depth])
        speed, bob, rate = rng.normal(0, 0.5, 3) * (1, 0.6, 0.6), rng.uniform(0, 0.15), rng.uniform(3, 9)
        start = rng.uniform(0, 2 * np.pi)
        path = middle + time[:, None] * speed
        path[:, 1] += bob * np.sin(rate * time + start)
        half, tumble, angle = rng.choice([0.0, 1.0]) * rng.uniform(0.1, 0.4), rng.normal(0, 2), rng.uniform(0, np.pi)
        turned = angle + tumble * time
        bar = half * np.stack([np.cos(turned), np.sin(turned), 0.3 * np.sin(turned + 1)], axis=1)
        ends.append((path - bar, path + bar))
        radii.append(rng.uniform(0.04, 0.10) if half else rng.uniform(0.06, 0.20))
    in_the_way, lean = rng.random(), rng.normal(0, 0.12)
    depth, offset, radius = distance * rng.uniform(0.5, 0.75), rng.uniform(-0.22, 0.22), rng.uniform(0.03, 0.085)
    if in_the_way < 0.30:
        along = np.array([lean, 1.0, 0.0]) if in_the_way < 0.22 else np.array([1.0, lean, 0.0])
        across = np.array([1.0, 0.0, 0.0]) if in_the_way < 0.22 else np.array([0.0, 1.0, 0.0])
        middle = offset * depth * across + np.array([0.0, 0.0, depth])
        ends.append((np.tile(middle - 3 * along, (frames, 1)), np.tile(middle + 3 * along, (frames, 1))))
        radii.append(radius)
    count = len(ends)
    placed = [camera.see(np.stack([camera.place(pair[i]) for pair in ends], axis=1)) for i in (0, 1)]
    radius_of = np.tile(np.array(radii)[:, None], (frames, 1, 2))
    solids = Solids(placed[0], placed[1], radius_of, radius_of.mean(axis=2), np.tile(np.array(radii)[:, None], (1, 2)))
    return solids, stack(*(draw_cloth(rng) for _ in range(count)))
