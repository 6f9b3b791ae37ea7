"""Cost of episodes: the published GMACs, sums by hand, and that counting leaves no trace."""

import copy
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from fewdistill.benchmark.cost import episode_cost as costs
from fewdistill.benchmark.cost.episode_cost import Episode, EpisodeCost, count_encoder, count_teacher
from fewdistill.benchmark.cost.macs import count_macs, thop_macs
from fewdistill.benchmark.cost.published_trx import PublishedTRX
from fewdistill.benchmark.cost.skeleton_cost import clip_cost
from fewdistill.benchmark.cost.table import compare, published_head, table
from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.students.backbones import LABEL_BRANCH, TokenEncoder
from fewdistill.students.clip_encoder import ClipEncoder
from fewdistill.students.few_shot import FewShotStudent
from fewdistill.students.heads.base import Head, Keys
from fewdistill.students.heads.trx import TRX
from fewdistill.students.skeletons import SKELETONS
from fewdistill.students.skeletons.encoder import JointEncoder
from fewdistill.teachers.fusions.sums import MFM
from tests.oracles import trx_logits
from tests.skeletons import UCLA


def student(backbone: str = "resnet18", *, small: bool = True, real: bool = False, **options: object) -> FewShotStudent:
    """small: 2 frames, tokens of 16, keys of 8; otherwise as published. real: the encoder has weights, not shapes."""
    with torch.device("cpu" if real else "meta"):
        encoder = TokenEncoder(backbone, 16 if small else 2048, **options)
    return FewShotStudent(encoder, *((TRX(16, 2, head_width=8), 2) if small else (TRX(2048), 8)))


def episode_cost(network: FewShotStudent, *, way: int, shot: int, query: int, image_size: int) -> EpisodeCost:
    encoder = count_encoder(network.encoder, network.frames, image_size)
    return costs.episode_cost(encoder, network.head, Episode(way, shot, query, network.frames, image_size))


def teacher_cost(encoders: list[ClipEncoder], fusion: MFM, head: Head, **sizes: int) -> EpisodeCost:
    encoder = count_teacher(encoders, fusion, sizes["frames"], sizes["image_size"])
    return costs.episode_cost(encoder, head, Episode(**sizes))


def thop_gmacs(network: FewShotStudent, way: int, shot: int, query: int, image_size: int) -> float:
    return episode_cost(network, way=way, shot=shot, query=query, image_size=image_size).thop_macs_per_episode / 1e9


def bare(pooling: Literal["cells", "mean"]) -> TokenEncoder:
    """ResNet50 whose pooled features are the tokens: by maxima (Lite-MKD) or global mean (TRX)."""
    with torch.device("meta"):
        return TokenEncoder("resnet50", 2048, (LABEL_BRANCH,), pooling=pooling, linear=False)


@pytest.mark.parametrize(
    ("backbone", "branches", "shot", "published"),
    [
        ("mobilenetv3_large", 2, 5, 72.554),
        ("mobilenetv3_large", 2, 1, 24.185),
        ("mobilenetv3_large", 1, 5, 64.151),
        ("resnet18", 2, 5, 454.005),
        ("resnet18", 2, 1, 151.335),
        ("resnet18", 1, 5, 445.822),
        ("mobilenetv3_small", 2, 5, 31.029),
    ],
)
def test_published_gmacs_of_students(backbone: str, branches: int, shot: int, published: float) -> None:
    network = student(backbone, small=False, **({"branches": (LABEL_BRANCH,)} if branches == 1 else {}))
    assert thop_gmacs(network, 5, shot, 1, 224) == pytest.approx(published, abs=6e-4)


@pytest.mark.parametrize(("pooling", "sizes", "published"), [("cells", (2,), 999.513), ("mean", (2, 3), 1023.329)])
def test_published_gmacs_of_resnet50(
    pooling: Literal["cells", "mean"], sizes: tuple[int, ...], published: float
) -> None:
    network = FewShotStudent(bare(pooling), TRX(2048, tuple_sizes=sizes), 8)
    assert thop_gmacs(network, 5, 5, 1, 224) == pytest.approx(published, abs=6e-4)


def test_what_thop_counts_by_hand() -> None:
    # 30 videos x 28 pairs: keys and values of 4096 x 1152, a layer norm of 4 an entry, softmax rows of 140: 419 a row
    head = 30 * 28 * (2 * 4096 * 1152 + 4 * 1152) + 5 * 5 * 28 * (3 * 140 - 1)
    trunk = bare("mean")
    pairs = thop_gmacs(FewShotStudent(trunk, TRX(2048), 8), 5, 5, 1, 64)
    single = thop_gmacs(FewShotStudent(trunk, TRX(2048, tuple_sizes=(1,)), 8), 5, 5, 1, 64)
    frames = 30 * 8 * (2 * 2048 * 1152 + 4 * 1152) + 5 * 5 * 8 * (3 * 40 - 1)
    assert pairs - single == pytest.approx((head - frames) / 1e9, rel=1e-9)


def test_the_published_formulation_gives_the_same_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    head = TRX(6, 4, tuple_sizes=(2, 3), head_width=8).double().eval()
    support, query = (torch.randn(n, 4, 6, generator=generator, dtype=torch.float64) for n in (6, 3))
    labels = torch.arange(3).repeat_interleave(2)
    ours = PublishedTRX(head)(support, query, 3)
    torch.testing.assert_close(ours, trx_logits(head, support, labels, query, 3))
    torch.testing.assert_close(ours, head(support, labels, query, 3))


def test_counting_leaves_no_trace() -> None:
    network = student(real=True).train()
    network.encoder.trunk[0].eval()
    modes = [module.training for module in network.modules()]
    state = copy.deepcopy(network.state_dict())
    hooks = [len(module._forward_hooks) for module in network.modules()]
    fused = torch.backends.mha.get_fastpath_enabled()
    episode_cost(network, way=2, shot=1, query=1, image_size=32)
    assert [module.training for module in network.modules()] == modes
    assert [len(module._forward_hooks) for module in network.modules()] == hooks
    assert list(state) == list(network.state_dict())
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())
    assert not any(value.is_meta for value in network.state_dict().values())
    assert torch.backends.mha.get_fastpath_enabled() == fused
    with pytest.raises(RuntimeError):
        count_macs(nn.Linear(3, 4), torch.zeros(2, 5))
    assert torch.backends.mha.get_fastpath_enabled() == fused


def test_shapes_alone_count_like_real_frames_and_scale_with_videos() -> None:
    encoder = student(real=True).encoder
    real = count_macs(encoder, torch.zeros(2, 3, 32, 32))
    assert count_macs(encoder, torch.zeros(2, 3, 32, 32, device="meta")) == real
    assert count_macs(encoder, torch.zeros(2 * 7, 3, 32, 32, device="meta")) == 7 * real


def test_an_episode_adds_up() -> None:
    network = student()
    cost = episode_cost(network, way=3, shot=2, query=4, image_size=64)
    videos, queries, support, branches, width, keys = 3 * (2 + 4), 12, 6, 2, 16, 8
    places, tuples = 2 * 2, 1  # frames x positions, pairs of two frames
    project = videos * places * (2 * width * keys)  # keys and values
    norms = videos * (places * places * keys + tuples * places * places + places * tuples)  # of tuples, from frames
    scores = queries * places * support * places * keys  # the Gram matrix, then summed into tuples on both sides
    scores += queries * places * support * places * tuples + queries * tuples * places * support * tuples
    weights = queries * tuples * support * tuples * places  # of tuples, into weights of frames
    values = queries * tuples * places * keys + queries * tuples * support * places * keys  # query, prototypes
    assert cost.macs_head_per_episode == branches * (project + norms + scores + weights + values)
    assert cost.macs_backbone_per_episode == videos * cost.macs_per_video
    assert cost.macs_per_episode == cost.macs_backbone_per_episode + cost.macs_head_per_episode
    assert cost.parameters == sum(p.numel() for p in network.parameters())
    released = sum(thop_macs(network.encoder, torch.zeros(3 * n * 2, 3, 64, 64, device="meta")) for n in (2, 4))
    support, query = (torch.zeros(3 * n, 2, 16, device="meta") for n in (2, 4))
    released += branches * thop_macs(PublishedTRX(network.head), support, query, 3)
    assert cost.thop_macs_per_episode == round(released)
    assert cost.counter == "torch FlopCounterMode"


def test_a_head_without_a_released_form_is_profiled_as_it_is() -> None:
    class OneMap(Head):
        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Linear(16, 4)

        def project(self, tokens: Tensor) -> Keys:
            return (self.map(tokens.mean(1)),)

        def match(self, support: Keys, labels: Tensor, query: Keys, way: int) -> Tensor:
            picked = torch.stack([support[0][:, labels[0] == c].mean(1) for c in range(way)], 1)
            return -torch.cdist(query[0], picked)

    encoder = student().encoder
    heads = 2 * (2 * (3 + 1)) * 16 * 4  # branches x videos x map
    with_head = thop_gmacs(FewShotStudent(encoder, OneMap(), 2), 2, 3, 1, 32)
    trx = student().head
    plain = thop_gmacs(FewShotStudent(encoder, trx, 2), 2, 3, 1, 32)
    trx_macs = 2 * (8 * (2 * 32 * 8 + 4 * 8) + 2 * 2 * (3 * 3 - 1))  # one pair a video, softmax rows of 3
    assert with_head - plain == pytest.approx((heads - trx_macs) / 1e9, rel=1e-6)


def test_teacher_cost_by_parts() -> None:
    encoders = [student(branches=(LABEL_BRANCH,)).encoder for _ in range(3)]
    mfm, head = MFM(3, 16, 2, layers=1, feedforward=32), TRX(16, 2, head_width=8)
    sizes = {"way": 2, "shot": 2, "query": 1, "image_size": 32}
    cost = teacher_cost(encoders, mfm, head, frames=2, **sizes)
    single = count_macs(encoders[0], torch.zeros(2, 3, 32, 32, device="meta"))

    def encoder_macs(streams: int) -> int:
        width = 16 * streams
        layer = 2 * (4 * width * width + 2 * 32 * width) + 2 * 2 * 2 * width
        return layer + 2 * width * 16

    assert cost.macs_per_video == 3 * single + encoder_macs(3) + 2 * encoder_macs(2)
    parts = [*encoders, mfm, head]
    assert cost.parameters == sum(p.numel() for part in parts for p in part.parameters())
    one = episode_cost(FewShotStudent(encoders[0], head, 2), **sizes)
    assert cost.macs_head_per_episode == one.macs_head_per_episode
    assert cost.thop_macs_per_episode > 3 * (one.thop_macs_per_episode - one.macs_head_per_episode)


def test_a_teacher_of_frames_and_joints_pays_for_both() -> None:
    image = student(branches=(LABEL_BRANCH,)).encoder
    joints = JointEncoder("ctr_gcn", UCLA, 16, (LABEL_BRANCH,), frames=12, bodies=2)
    mfm, head = MFM(2, 16, 2, layers=1, feedforward=32), TRX(16, 2, head_width=8)
    sizes = {"frames": 2, "way": 2, "shot": 2, "query": 1, "image_size": 32}
    mixed = teacher_cost([image, joints], mfm, head, **sizes)
    images = teacher_cost([image, image], mfm, head, **sizes)
    frames = torch.zeros(2, 3, 32, 32, device="meta")
    whole, width = SKELETONS["ctr_gcn"](UCLA, 1, bodies=2), joints.network.width
    alone = clip_cost(whole, 12)
    of_joints = alone.macs - width + 2 * width * 16  # no classifier, a branch for two tokens
    assert mixed.macs_per_video - images.macs_per_video == of_joints - count_macs(image, frames)
    assert mixed.parameters == sum(p.numel() for part in (image, joints, mfm, head) for p in part.parameters())
    thop = mixed.thop_macs_per_episode - images.thop_macs_per_episode + 6 * thop_macs(image, frames)
    assert thop == pytest.approx(6 * alone.thop_macs, rel=0.005)  # as released; pooling and branch aside


def test_a_full_size_teacher_is_counted_without_its_memory() -> None:
    with torch.device("meta"):
        encoders = [TokenEncoder("resnet50", branches=(LABEL_BRANCH,)) for _ in range(3)]
        mfm = MFM(3)
    cost = teacher_cost(encoders, mfm, TRX(2048), frames=8, way=5, shot=5, query=1, image_size=224)
    assert cost.parameters / 1e6 == pytest.approx(3 * (23.508 + 4.196) + 365.1 + 176.3 + 9.44, abs=0.2)
    assert cost.macs_per_video > 8 * 3 * 4.0e9


def test_a_teacher_whose_parts_do_not_fit_is_refused() -> None:
    encoders = [student(branches=(LABEL_BRANCH,)).encoder for _ in range(2)]
    sizes = {"frames": 2, "way": 2, "shot": 1, "query": 1, "image_size": 32}
    mfm, head = MFM(3, 16, 2, layers=1, feedforward=32), TRX(16, 2, head_width=8)
    with pytest.raises(UserError, match="3 modalities"):
        teacher_cost(encoders, mfm, head, **sizes)
    with pytest.raises(UserError, match="single-branch"):
        teacher_cost([*encoders, student().encoder], mfm, head, **sizes)


@pytest.mark.parametrize("wrong", [{"way": 0}, {"shot": 0}, {"query": 0}, {"image_size": 31}])
def test_impossible_episodes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        episode_cost(student(), **{"way": 2, "shot": 1, "query": 1, "image_size": 32, **wrong})


def test_every_backbone_with_every_head_equals_the_network_itself() -> None:
    episode = Episode(way=2, shot=2, query=1, frames=3, image_size=64)
    rows = table(["resnet18", "mobilenetv3_small"], ["trx", "otam", "hyrsm"], episode, 16)
    assert [(row.backbone, row.head) for row in rows][:2] == [("resnet18", "trx"), ("resnet18", "otam")]
    for row in rows:
        with torch.device("meta"):
            encoder = TokenEncoder(row.backbone, 16)
        network = FewShotStudent(encoder, published_head(row.head, 16, 3), 3)
        assert row.cost == episode_cost(network, way=2, shot=2, query=1, image_size=64)
        per_episode = 4 * row.cost.macs_per_support + 2 * row.cost.macs_per_query
        assert row.cost.macs_per_episode == pytest.approx(per_episode, abs=2)
        assert row.cost.macs_per_query > row.cost.macs_per_support >= row.cost.macs_per_video


def test_one_more_query_costs_what_is_said() -> None:
    sizes = [Episode(way=3, shot=2, query=q, frames=3, image_size=64) for q in (1, 2)]
    one, two = (table(["mobilenetv3_small"], ["trx"], size, 16)[0].cost for size in sizes)
    assert two.macs_per_episode - one.macs_per_episode == 3 * one.macs_per_query
    three = table(["mobilenetv3_small"], ["trx"], Episode(3, 3, 1, 3, 64), 16)[0].cost
    grown = 3 * one.macs_per_support + 3 * (three.macs_per_query - one.macs_per_query)
    assert three.macs_per_episode - one.macs_per_episode == grown  # each query meets the new support videos too


def test_published_figures() -> None:
    rows = compare()
    assert sum(row.printed is not None for row in rows) == 5
    for row in rows:
        assert row.ours == pytest.approx(row.counted, abs=6e-4), row.name  # three digits are recorded
        if row.printed is not None:
            assert row.ours == pytest.approx(row.printed, rel=1e-3), row.name
