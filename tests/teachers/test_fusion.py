"""Sums of transformer encoders, against their equations written out with the module's own encoders."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fewdistill.students import StudentError
from fewdistill.teachers.fusions.base import FrameEmbedding, FusionEncoder
from fewdistill.teachers.fusions.sums import MFM, RELEASED, Released, moved

WIDTH, FRAMES, VIDEOS = 8, 4, 3
drawn = settings(derandomize=True, deadline=None, max_examples=6)


def fusion(modalities: int = 3, **options: object) -> MFM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MFM(modalities, WIDTH, FRAMES, **{"layers": 1, "feedforward": 16, **options}).double().eval()


def joint(mfm: MFM) -> FusionEncoder:
    return mfm.encoders[str(mfm.modalities)]


def pair(module: MFM | Released) -> FusionEncoder:
    return module.encoders["2"]


def released(name: str, modalities: int, **options: object) -> Released:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small = {"layers": 1, "feedforward": 16, **options}
        return Released(modalities, WIDTH, FRAMES, released=name, **small).double().eval()


def streams(modalities: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(modalities, VIDEOS, FRAMES, WIDTH, generator=generator, dtype=torch.float64)


def earlier(stream: Tensor, shift: int) -> Tensor:
    """Frame t becomes frame t + shift, cyclically."""
    return stream[:, [(frame + shift) % FRAMES for frame in range(FRAMES)]]


@drawn
@given(modalities=st.integers(3, 5), shift=st.integers(0, 3), seed=st.integers(0, 99))
def test_the_equation(modalities: int, shift: int, seed: int) -> None:
    mfm, tokens = fusion(modalities, shift=shift), streams(modalities, seed)
    first, *others = tokens
    expected = joint(mfm)(list(tokens)) + sum(pair(mfm)([first, earlier(other, shift)]) for other in others)
    torch.testing.assert_close(mfm(tokens), expected)
    torch.testing.assert_close(mfm(tokens, "cached"), expected)
    assert mfm(tokens).shape == (VIDEOS, FRAMES, WIDTH)


def test_the_released_shift_of_the_last_stream() -> None:
    mfm, (first, second, last) = fusion(flow_shift="extract_only"), streams()
    common = joint(mfm)([first, second, last]) + pair(mfm)([first, earlier(second, 1)])
    torch.testing.assert_close(mfm(streams()), common + pair(mfm)([first, last]))
    torch.testing.assert_close(mfm(streams(), "cached"), common + pair(mfm)([first, earlier(last, 1)]))
    assert not torch.allclose(mfm(streams()), mfm(streams(), "cached"))


def test_two_modalities_are_one_pair() -> None:
    mfm, (first, second) = fusion(2), streams(2)
    assert list(mfm.encoders) == ["2"]
    torch.testing.assert_close(mfm(streams(2)), pair(mfm)([first, earlier(second, 1)]))


def test_one_modality_is_its_encoder() -> None:
    mfm, tokens = fusion(1), streams(1)
    torch.testing.assert_close(mfm(tokens), mfm.encoders["1"]([tokens[0]]))


def late(stream: Tensor, shift: int) -> Tensor:
    """Frame t becomes frame t - shift, zeros before the first."""
    none = torch.zeros_like(stream[:, 0])
    return torch.stack([stream[:, frame - shift] if frame >= shift else none for frame in range(FRAMES)], 1)


def early(stream: Tensor, shift: int) -> Tensor:
    """Frame t becomes frame t + shift, zeros after the last."""
    return late(stream.flip(1), shift).flip(1)


@drawn
@given(seed=st.integers(0, 99), shift=st.integers(0, 5))
@pytest.mark.parametrize("name", sorted(RELEASED))
def test_every_released_sum_is_its_equation(name: str, seed: int, shift: int) -> None:
    count = {"Two": 2, "Thr": 3, "Fou": 4, "Fiv": 5, "Sco": 3}[name[:3]] + ("Combination" in name and name[:3] == "Two")
    module, tokens = released(name, count, shift=shift), streams(count, seed)
    r, d, *more = tokens
    f = more[0] if more else d

    def two(other: Tensor) -> Tensor:
        return pair(module)([r, other])

    def three() -> Tensor:
        return module.encoders["3"]([r, d, f])

    def roll(stream: Tensor) -> Tensor:
        return earlier(stream, shift)

    query = {
        "TwoTRX": lambda: two(d),
        "TwoTRXShuffleTime": lambda: two(d) + two(d),
        "TwoCombinationTRX": lambda: two(d) + two(f),
        "TwoCombinationShiftTRX": lambda: two(roll(d)) + two(f),
        "ThreeTRXShuffleTime": lambda: two(d) + two(early(d, shift)) + two(late(f, shift)),
        "ThreeTRXLRShiftLoopTime": lambda: two(d) + two(d) + two(f),
        "ThreeTRXShiftLoopTime": lambda: three() + two(roll(d)) + two(f),
        "ThreeTRXCombination": lambda: three() + two(d) + two(f),
        "ThreeStrm": three,
        "ScoreFusion": three,
        "FourShiftFusion": lambda: module.encoders["4"](list(tokens)) + two(roll(d)) + two(f) + two(tokens[3]),
        "FiveShiftFusion": lambda: three() + two(roll(d)) + two(f) + two(tokens[3]) + two(roll(tokens[4])),
    }
    support = {
        "TwoTRXShuffleTime": lambda: two(d) + two(roll(d)),
        "ThreeTRXLRShiftLoopTime": lambda: two(d) + two(roll(d)) + two(f),
    }
    cached = {
        "ThreeTRXShiftLoopTime": lambda: three() + two(roll(d)) + two(roll(f)),
        "ThreeTRXCombination": lambda: three() + two(roll(d)) + two(roll(f)),
    }
    expected = query[name]()
    torch.testing.assert_close(module(tokens, "query"), expected)
    torch.testing.assert_close(module(tokens, "support"), support[name]() if name in support else expected)
    torch.testing.assert_close(module(tokens, "cached"), cached[name]() if name in cached else expected)
    assert module.symmetric == (name not in support)


def test_moved_frames() -> None:
    tokens = torch.arange(1.0, 5)[None, :, None]
    assert moved(tokens, "roll", 1).flatten().tolist() == [2, 3, 4, 1]
    assert moved(tokens, "left", 1).flatten().tolist() == [2, 3, 4, 0]
    assert moved(tokens, "right", 1).flatten().tolist() == [0, 1, 2, 3]
    assert moved(tokens, "right", 9).flatten().tolist() == [0, 0, 0, 0]
    assert moved(tokens, "left", 9).flatten().tolist() == [0, 0, 0, 0]


def test_embedding_is_norm_of_token_plus_position() -> None:
    embedding = FrameEmbedding(WIDTH, FRAMES, dropout=0.5).double().eval()
    tokens = streams()[0]
    shifted = tokens + embedding.position.weight
    centred = shifted - shifted.mean(-1, keepdim=True)
    expected = centred / (centred.square().mean(-1, keepdim=True) + embedding.norm.eps).sqrt()
    torch.testing.assert_close(embedding(tokens), expected)
    torch.testing.assert_close(embedding(tokens[:, :2]), expected[:, :2])


@pytest.mark.parametrize(("streams_joined", "heads"), [(2, 2), (3, 3), (4, 2)])
def test_encoders_are_sized_as_published(streams_joined: int, heads: int) -> None:
    with torch.device("meta"):  # 2048 wide: shapes only
        mfm = MFM(streams_joined)
    encoder = joint(mfm)
    assert isinstance(encoder, FusionEncoder)
    attention = encoder.encoder.layers[0].self_attn
    assert (attention.num_heads, attention.embed_dim, attention.batch_first) == (heads, streams_joined * 2048, True)
    assert len(encoder.encoder.layers) == 2 and encoder.encoder.layers[0].linear1.out_features == 2048


def test_published_parameter_counts() -> None:
    with torch.device("meta"):
        mfm = MFM(3)
    counts = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (joint(mfm), pair(mfm))]
    assert counts == pytest.approx([365.1, 176.3], abs=0.05)


def test_wrong_uses_are_refused() -> None:
    with pytest.raises(StudentError, match="one modality or more"):
        MFM(0, WIDTH)
    with pytest.raises(StudentError, match=r"'ThreeTRX': did you mean .*ThreeTRX"):
        released("ThreeTRX", 3)
    with pytest.raises(StudentError, match="FourShiftFusion joins 4 modalities, not 3"):
        released("FourShiftFusion", 3)
    with pytest.raises(StudentError, match="both or extract_only"):
        fusion(flow_shift="never")
    with pytest.raises(StudentError, match="built for 3 modalities, got 2"):
        fusion()(streams(2))
