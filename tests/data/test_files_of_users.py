"""Files as cameras, editors, archives and systems leave them: read as they are meant, or named with a remedy."""

import unicodedata
from fractions import Fraction
from pathlib import Path

import av
import pytest

from fewdistill.benchmark.data.skeletons.check import check as check_skeletons
from fewdistill.benchmark.data.skeletons.skeleton_set import load
from fewdistill.benchmark.data.video.check import check
from fewdistill.benchmark.data.video.folder import VideoFolder
from fewdistill.benchmark.data.video.frames import decode, frame_count, list_frames
from fewdistill.benchmark.runtime.errors import DataError
from tests.command import TINY, fewdistill
from tests.data.folders import SKELETON, picture, write_data_set, write_image, write_lists, write_video
from tests.data.skeleton_files import person, write_kinetics


def timed_video(path: Path, times: list[int], **options: str) -> None:
    """Frames shown at these milliseconds; key frames every 24."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.height, stream.width, stream.pix_fmt, stream.gop_size = 32, 40, "yuv420p", 24
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(0, number % 12), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def trimmed(source: Path, target: Path, first: int) -> None:
    """A lossless trim: packets from the key frame before ``first`` on, and an edit list that shows the rest."""
    with av.open(str(source)) as old, av.open(str(target), "w", options={"avoid_negative_ts": "disabled"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(old.streams.video[0]) if packet.size]
        key = max(number for number, packet in enumerate(packets[: first + 1]) if packet.is_keyframe)
        start = packets[first].pts
        for packet in packets[key:]:
            packet.pts -= start
            packet.dts -= start
            packet.stream = stream
            new.mux(packet)


EVEN = [round(1000 * number / 30) for number in range(60)]


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("slower.mkv", [*EVEN[:30], *(1000 + 200 * number for number in range(30))]),
        ("slower.webm", [*EVEN[:30], *(1000 + 200 * number for number in range(30))]),
        ("dropped.mkv", [*EVEN[:30], *EVEN[30::3]]),
        ("late.mkv", [5000 + time for time in EVEN]),
        ("slide.mp4", [*EVEN[:10], 9000]),
    ],
)
def test_a_whole_video_is_read_whatever_its_frame_rate(name: str, times: list[int], tmp_path: Path) -> None:
    path = tmp_path / name
    timed_video(path.with_suffix(".mkv"), times)
    if path.suffix == ".webm":  # the same container
        path.with_suffix(".mkv").rename(path)
    elif path.suffix == ".mp4":
        timed_video(path, times)
    assert frame_count(path) == len(decode(path)) == len(times)


def test_a_trimmed_video_has_the_frames_that_it_shows(tmp_path: Path) -> None:
    timed_video(tmp_path / "whole.mp4", EVEN[:48])
    trimmed(tmp_path / "whole.mp4", tmp_path / "end.mp4", 30)
    with av.open(str(tmp_path / "end.mp4")) as container:
        assert container.streams.video[0].frames == 24, "samples in the file, of which 18 are shown"
    assert frame_count(tmp_path / "end.mp4") == len(decode(tmp_path / "end.mp4")) == 18


@pytest.mark.parametrize(("name", "options"), [("a.mp4", {"movflags": "+faststart"}), ("a.mkv", {})])
def test_a_video_that_is_cut_off_is_refused(name: str, options: dict[str, str], tmp_path: Path) -> None:
    timed_video(tmp_path / name, EVEN, **options)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(0.7 * len(content))])
    with pytest.raises(DataError, match=rf"{name}: (truncated|cannot be decoded)"):
        frame_count(tmp_path / name)


@pytest.mark.parametrize("frames", ["img_{:05d}.jpg", "{:08d}.jpg", "frame{}.jpg", "image-{:04d}.jpg"])
def test_flow_beside_the_frames_is_no_frame(frames: str, tmp_path: Path) -> None:
    for number in range(1, 13):
        write_image(tmp_path / frames.format(number), picture(0, number))
        for axis in "xy":
            write_image(tmp_path / f"flow_{axis}_{number:05d}.jpg", picture(1, number)[..., 0])
    write_image(tmp_path / "thumb.jpg", picture(2, 0))
    assert [path.name for path in list_frames(tmp_path)] == [frames.format(number) for number in range(1, 13)]


def test_series_that_none_can_tell_apart_are_named(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"left_{number}.jpg", picture(0, number))
        write_image(tmp_path / f"right_{number}.jpg", picture(1, number))
    with pytest.raises(DataError, match=r"2 series of images: left_\*\.jpg \(3\), right_\*\.jpg \(3\)"):
        list_frames(tmp_path)
    (tmp_path / "one").mkdir()
    write_image(tmp_path / "one" / "cover.jpg", picture(0, 0))
    with pytest.raises(DataError, match=r"no image has a number \(cover\.jpg"):
        list_frames(tmp_path / "one")


def problems_of(root: Path, **how: int | bool) -> list[str]:
    return [str(found) for found in check(root, **{"way": 2, "shot": 1, "query": 1, **how})]


def test_hidden_files_are_the_systems(tmp_path: Path) -> None:
    write_data_set(tmp_path / "set")
    for path in [*(tmp_path / "set" / "l8").rglob("*.jpg"), *(tmp_path / "set" / "joints").rglob("*.npy")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert problems_of(tmp_path / "set") == []
    summary, problems = check_skeletons(tmp_path / "set" / "joints", "npy")
    assert not problems and summary.clips == 18


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    write_data_set(tmp_path / "set")
    for path in [*(tmp_path / "set" / "splits").iterdir(), tmp_path / "set" / "joints" / "skeleton.toml"]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert problems_of(tmp_path / "set") == []
    joints = tmp_path / "set" / "joints"
    clips = [f"{path.parent.name}/{path.stem}" for path in joints.rglob("*.npy")]
    table = "clip,subject\r\n" + "".join(f"{clip},{number}\r\n" for number, clip in enumerate(clips))
    (joints / "clips.csv").write_bytes(b"\xef\xbb\xbf" + table.encode())
    summary, problems = check_skeletons(joints, "npy")
    assert not problems and len(summary.subjects) == 18
    (tmp_path / "tiny.toml").write_bytes(b"\xef\xbb\xbf" + TINY.encode())
    assert fewdistill("run", "tiny.toml", "--dry-run", "--only", "teacher/*", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("ending", "says"),
    [(".mp4 3", "a file extension and a label"), (".mp4", "a file extension"), (" 121 0", "a number of frames and a")],
)
def test_a_list_with_more_than_names_is_said_once_and_its_videos_are_looked_at(
    ending: str, says: str, tmp_path: Path
) -> None:
    lists = write_data_set(tmp_path / "set", poses=False)
    broken = tmp_path / "set" / "l8" / "rgb_l8" / lists["val"][1] / "00000003.jpg"
    broken.write_bytes(b"")
    write_lists(tmp_path / "set", {split: [f"{video}{ending}" for video in videos] for split, videos in lists.items()})
    found = problems_of(tmp_path / "set")
    assert len(found) == 4 and sum(f"carries {says}" in line and "and 5 more lines" in line for line in found) == 3
    assert sum(str(broken) in line for line in found) == 1


def test_links_to_nowhere_are_problems_among_others(tmp_path: Path) -> None:
    lists = write_data_set(tmp_path / "set", poses=False)
    frame = tmp_path / "set" / "l8" / "rgb_l8" / lists["train"][0] / "00000003.jpg"
    frame.unlink()
    frame.symlink_to(tmp_path / "gone.jpg")
    empty = tmp_path / "set" / "l8" / "rgb_l8" / lists["test"][0] / "00000001.jpg"
    empty.write_bytes(b"")
    for deep in (True, False):
        found = problems_of(tmp_path / "set", deep=deep)
        assert len(found) == 2 and str(frame) in found[0] and str(empty) in found[1]
    videos = {split: [f"{split}{c}/v{v}" for c in range(2) for v in range(2)] for split in ("train", "val", "test")}
    write_lists(tmp_path / "videos", videos)
    for video in [video for each in videos.values() for video in each]:
        write_video(tmp_path / "videos" / f"{video}.mp4", [picture(0, number) for number in range(9)])
    (tmp_path / "videos" / "train0" / "v0.mp4").unlink()
    (tmp_path / "videos" / "train0" / "v0.mp4").symlink_to(tmp_path / "gone.mp4")
    [line] = problems_of(tmp_path / "videos")
    assert "train0/v0.mp4: cannot be read (No such file" in line or "train0/v0.mp4: no such video file" in line


def test_accents_meet_in_one_form(tmp_path: Path) -> None:
    lists = write_data_set(tmp_path / "set", poses=False)
    named = {split: [video.replace("act0", "été") for video in videos] for split, videos in lists.items()}
    write_lists(tmp_path / "set", {s: [unicodedata.normalize("NFC", v) for v in vs] for s, vs in named.items()})
    tree = tmp_path / "set" / "l8" / "rgb_l8"
    for split in named:
        (tree / f"{split} act0").rename(tree / unicodedata.normalize("NFD", f"{split} été"))
    assert problems_of(tmp_path / "set") == []


@pytest.mark.parametrize("suffix", [".mov", ".MOV", ".m4v", ".mpg", ".mpeg", ".mkv"])
def test_videos_of_cameras_are_read_even_below_a_colon(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("data:v2", "2024:run", f"v0{suffix}")
    frames = [picture(0, number) for number in range(12)]
    if suffix.startswith(".mp"):
        mpeg_video(path)
    else:
        write_video(path.absolute(), frames)
    folder = VideoFolder("data:v2", frames=4, lists={"train": ["2024:run/v0"], "val": [], "test": []})
    assert folder.frame_count("2024:run/v0") == 12


def mpeg_video(path: Path) -> None:
    """MPEG-2 knows no ten frames a second."""
    path.parent.mkdir(parents=True)
    with av.open(str(path.absolute()), "w", format="mpeg") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 40, "yuv420p"
        for number in range(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0, number), format="rgb24")))
        container.mux(stream.encode())


def test_a_video_under_another_ending_is_named_beside_those_that_are_read(tmp_path: Path) -> None:
    write_video(tmp_path / "run" / "v1.mp4", [picture(0, number) for number in range(9)])
    (tmp_path / "run" / "v0.wmv").write_bytes(b"0")
    folder = VideoFolder(tmp_path, lists={"train": ["run/v0", "run/v1"], "val": [], "test": []})
    with pytest.raises(DataError, match=r"no rgb of this video; v0\.wmv is there; \.mp4, \.m4v, \.mov"):
        folder.locate("run/v0")


@pytest.mark.parametrize("keep", [False, True])
def test_a_kinetics_clip_without_anybody_is_left_out_with_its_reason(
    keep: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_kinetics(
        tmp_path, {"a": [[one] for one in person(3)], "empty": [[], [], []], "b": [[one] for one in person(4)]}
    )
    if keep:
        monkeypatch.setattr("fewdistill.benchmark.data.skeletons.skeleton_set.MANY", 2)
    for _ in range(2):  # the second time from what was kept
        found = load(tmp_path, "kinetics", workers=1)
        assert [entry.id for entry in found.entries] == ["a", "b"] and list(found.lengths) == [3, 4]
        assert found.left_out["empty"] == "nobody is seen in any of 3 frames"
    assert (tmp_path / ".fewdistill").is_dir() is keep
    summary, problems = check_skeletons(tmp_path, "kinetics")
    assert not problems and summary.clips == 2 and "empty" in summary.left_out


def test_brackets_and_long_paths_are_printed_as_they_are(tmp_path: Path) -> None:
    root = tmp_path / "data[final]" / ("x" * 90) / "[/red]"
    asked = ["--clips-per-class", "2", "--train-classes", "2", "--val-classes", "2", "--test-classes", "2"]
    made = fewdistill("data", "generate", str(root), *asked, "--size", "32", "--workers", "1", cwd=tmp_path)
    assert made.returncode == 0 and made.stdout == f"{root}\n"
    sheet = fewdistill("data", "preview", str(root), "--out", "sheet[1a].png", cwd=tmp_path)
    assert sheet.returncode == 0 and sheet.stdout == "sheet[1a].png\n"
    checked = fewdistill("data", "check", str(root), "--way", "2", "--shot", "1", cwd=tmp_path)
    assert checked.returncode == 0 and checked.stdout == f"{root}: no problems\n"


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_bytes("größe = 1".encode("latin-1"))
    said = fewdistill("run", "suite.toml", "--dry-run", cwd=tmp_path)
    assert said.returncode == 2 and "suite.toml: not UTF-8 text" in said.stderr
    write_data_set(tmp_path / "set")
    (tmp_path / "set" / "joints" / "skeleton.toml").write_text(SKELETON.replace("centre = 0", ""))
    [*_, line] = problems_of(tmp_path / "set")
    assert "key 'centre' is missing; write joints, edges, centre, left and right, and a table [camera]" in line
