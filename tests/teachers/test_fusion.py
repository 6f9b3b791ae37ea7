"""MFM and its variants, against the equation written out with the module's own encoders."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from students import StudentError
from teachers.fusion import MFM, FrameEmbedding, FusionEncoder

WIDTH, FRAMES, VIDEOS = 8, 4, 3
drawn = settings(derandomize=True, deadline=None, max_examples=6)


def fusion(modalities: int = 3, **options: object) -> MFM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MFM(modalities, WIDTH, FRAMES, **{"layers": 1, "feedforward": 16, **options}).double().eval()


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
    expected = mfm.joint(list(tokens)) + sum(mfm.pair([first, earlier(other, shift)]) for other in others)
    torch.testing.assert_close(mfm(tokens), expected)
    torch.testing.assert_close(mfm(tokens, extract=True), expected)
    assert mfm(tokens).shape == (VIDEOS, FRAMES, WIDTH)


def test_the_released_shift_of_the_last_stream() -> None:
    mfm, (first, second, last) = fusion(flow_shift="extract_only"), streams()
    common = mfm.joint([first, second, last]) + mfm.pair([first, earlier(second, 1)])
    torch.testing.assert_close(mfm(streams()), common + mfm.pair([first, last]))
    torch.testing.assert_close(mfm(streams(), extract=True), common + mfm.pair([first, earlier(last, 1)]))
    assert not torch.allclose(mfm(streams()), mfm(streams(), extract=True))


def test_two_modalities_are_one_pair() -> None:
    mfm, (first, second) = fusion(2), streams(2)
    assert mfm.joint is None
    torch.testing.assert_close(mfm(streams(2)), mfm.pair([first, earlier(second, 1)]))


@pytest.mark.parametrize("modalities", [2, 3])
def test_without_pairs_the_joint_encoder_is_left(modalities: int) -> None:
    mfm = fusion(modalities, pairs=False)
    assert mfm.pair is None
    torch.testing.assert_close(mfm(streams(modalities)), mfm.joint(list(streams(modalities))))


def test_videos_are_fused_apart() -> None:
    mfm, tokens = fusion(), streams()
    alone = torch.cat([mfm(tokens[:, index : index + 1]) for index in range(VIDEOS)])
    torch.testing.assert_close(mfm(tokens), alone)


@pytest.mark.parametrize("modality", [0, 1, 2])
def test_every_modality_is_heard(modality: int) -> None:
    tokens = streams()
    changed = tokens.clone()
    changed[modality] += 1 + torch.arange(WIDTH)
    mfm = fusion()
    assert not torch.allclose(mfm(tokens), mfm(changed))


def test_gradients_are_finite_and_reach_every_weight() -> None:
    mfm, tokens = fusion().train(), streams().requires_grad_()
    mfm(tokens).square().sum().backward()
    for name, value in [("streams", tokens), *mfm.named_parameters()]:
        assert value.grad is not None and value.grad.isfinite().all() and (value.grad != 0).any(), name


def test_gradients_agree_with_differences() -> None:
    mfm = fusion()
    assert torch.autograd.gradcheck(mfm, (streams().requires_grad_(),), fast_mode=True)


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
    encoder = mfm.joint if mfm.joint is not None else mfm.pair
    assert isinstance(encoder, FusionEncoder)
    attention = encoder.encoder.layers[0].self_attn
    assert (attention.num_heads, attention.embed_dim, attention.batch_first) == (heads, streams_joined * 2048, True)
    assert len(encoder.encoder.layers) == 2 and encoder.encoder.layers[0].linear1.out_features == 2048


def test_published_parameter_counts() -> None:
    with torch.device("meta"):
        mfm = MFM(3)
    counts = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (mfm.joint, mfm.pair)]
    assert counts == pytest.approx([365.1, 176.3], abs=0.05)


def test_wrong_uses_are_refused() -> None:
    with pytest.raises(StudentError, match="two modalities or more, not 1"):
        MFM(1, WIDTH)
    with pytest.raises(StudentError, match="both or extract_only"):
        fusion(flow_shift="never")
    with pytest.raises(StudentError, match="built for 3 modalities, got 2"):
        fusion()(streams(2))
