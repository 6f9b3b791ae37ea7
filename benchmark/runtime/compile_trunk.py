"""torch.compile for trunks on CUDA devices, as an option that gives way with a message."""

import torch

from fewdistill.benchmark.runtime.progress import say
from fewdistill.students.backbones import TokenEncoder


def compile_trunk(encoder: TokenEncoder, device: torch.device, image_size: int) -> bool:
    """Compile the encoder's trunk in place and try it on two frames; True where it stands.

    On a device other than CUDA, and where the compiler fails, the trunk stays as it is, and a line says why. The
    results of a compiled trunk differ from the plain one's by rounding, so this is no part of a run's identity.
    """
    if device.type != "cuda":
        say("--compile is for CUDA devices: this run goes on without it")
        return False
    return try_compiling(encoder, device, image_size, "inductor")


def try_compiling(encoder: TokenEncoder, device: torch.device, image_size: int, backend: str) -> bool:
    """Compile with a backend of torch.compile, or leave the trunk as it is and say why; True where it is compiled."""
    frames = torch.zeros(2, 3, image_size, image_size, device=device).contiguous(memory_format=torch.channels_last)
    training = encoder.training
    try:
        encoder.trunk.compile(backend=backend)
        with torch.no_grad():
            encoder.trunk.eval()(frames)
    except Exception as error:  # compilers fail in many ways, and none of them is worth a run
        encoder.trunk._compiled_call_impl = None
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        say(f"torch.compile failed on {encoder.backbone}, which goes on without it: {reason}")
        return False
    finally:
        encoder.train(training)
    return True
