"""One clip: an action performed by a person, filmed. A pure function of (version, seed, class, index) and the size."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fewdistill.benchmark.data.synthetic import paint, person, scene, sensor
from fewdistill.benchmark.data.synthetic.actions import Action
from fewdistill.benchmark.data.synthetic.body import Body, clamp, draw_body, pose, rotation, stand
from fewdistill.benchmark.data.synthetic.camera import draw_camera
from fewdistill.benchmark.data.synthetic.solids import join, rasterise
from fewdistill.benchmark.data.synthetic.spec import EmbeddedSpec
from fewdistill.benchmark.runtime.seeds import generator

Floats = NDArray[np.float64]

_SUPER = 3  # samples a pixel and axis of the figure; odd, so that one of them is the pixel's centre


@dataclass(frozen=True, eq=False)
class Clip:
    """rgb uint8 (T, S, S, 3); depth uint16 (T, S, S) millimetres, 0 = no reading; joints float32 (T, V, 3, 1) in
    metres in the camera frame."""

    rgb: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    joints: NDArray[np.float32]


def perform(rng: np.random.Generator, action: Action, body: Body, frames: int) -> tuple[Floats, Floats]:
    """The action in a personal style: world joints (T, V, 3) in metres and the direction of the face (T, 3).

    A clip lasts about one cycle (0.95 to 1.35), starts anywhere in it, and every angle has its own small deviation in
    middle, amplitude and phase.
    """
    time = np.linspace(0.0, 1.0, frames, endpoint=False)
    phi = rng.uniform(0, 2 * np.pi) + 2 * np.pi * rng.uniform(0.95, 1.35) * time
    count = len(action.base)
    amplitude = action.amplitude * rng.uniform(0.82, 1.15) * rng.normal(1, 0.10, count)
    middle = action.base + rng.normal(0, 4.0, count) * np.where(action.amplitude > 0, 1.0, 0.5)
    phase = action.phase + rng.normal(0, 0.15, count)
    tremor = rng.normal(0, 0.8, (frames, count))
    joints, face = pose(clamp(middle + amplitude * np.sin(action.frequency * phi[:, None] + phase) + tremor), body)
    turn = rng.normal(0, 6) + action.yaw * np.sin(phi) + action.spin * (time - 0.5) * rng.uniform(0.8, 1.2)
    spun = rotation(1, turn)
    joints, face = stand(joints @ spun.swapaxes(1, 2)), (spun @ face[..., None])[..., 0]
    joints[..., 1] += action.jump * rng.uniform(0.8, 1.2) * np.maximum(np.sin(action.jump_frequency * phi), 0)[:, None]
    path = (time[:, None] - 0.5) * np.array(action.travel) * rng.uniform(0.8, 1.2)
    joints[..., [0, 2]] += path[:, None]
    return joints, face


def film(spec: EmbeddedSpec, action: Action, class_name: str, index: int) -> Clip:
    """Clip ``index`` of a class. Motion, camera, appearance and sensor noise have a stream of their own each, so what
    things look like is drawn the same way for every class."""

    def stream(name: str) -> np.random.Generator:
        return generator(spec.seed, "embedded", spec.version, class_name, index, name)

    motion, look = stream("motion"), stream("appearance")
    body = draw_body(motion)
    world, face = perform(motion, action, body, spec.frames)
    camera = draw_camera(stream("camera"), world, body.height)
    joints = camera.see(world)

    image, room = scene.draw_background(look, camera, world[:, 0], spec.size)
    clothes, hair = person.dress(look)
    things, cloths = scene.draw_things(look, camera, float(joints[:, 0, 2].mean()))
    light = np.array([look.normal(0, 0.7), -abs(look.normal(0.6, 0.4)), -1.0])
    ambient = look.uniform(0.4, 0.75)
    solids = join(person.flesh(joints, body), things)
    surface = rasterise(solids, spec.size * _SUPER)
    facing = (camera.rotation @ face[..., None])[..., 0]
    colours = paint.shade(
        surface, paint.stack(clothes, cloths), light / np.linalg.norm(light), ambient, person.HEAD, facing, hair
    )
    size = (spec.size, spec.size)
    small = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in colours])
    image = image * (1 - small[..., 3:]) + small[..., :3]
    middle = slice(_SUPER // 2, None, _SUPER)
    depth = np.minimum(surface.z[:, middle, middle], room)

    noise = stream("sensor")
    return Clip(sensor.expose(noise, image), sensor.range_image(noise, depth), joints[..., None].astype(np.float32))
