"""Split lists: which videos train, validate and test, in the published one-`class/video`-a-line format."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from fewdistill.benchmark.data.problem import DataProblem
from fewdistill.benchmark.runtime.errors import DataError
from fewdistill.feature_cache import write_atomic

SPLITS = ("train", "val", "test")
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".webm", ".mkv", ".mpg", ".mpeg")
_LABEL = re.compile(r"\s+\d+$")  # a class number behind a name
_FRAMES_AND_LABEL = re.compile(r"\s+\d+\s+\d+$")


def list_path(folder: Path, split: str, number: int) -> Path:
    """`<folder>/{train,val,test}listNN.txt`, the published name of a split list."""
    return Path(folder) / f"{split}list{number:02d}.txt"


def normalise_name(name: str) -> str:
    """Lower-case with spaces as underscores, the published rule by which list entries and folders meet.

    Accents are composed (NFC): macOS writes folder names with the accent as a character of its own.
    """
    return (name if name.isascii() else unicodedata.normalize("NFC", name)).replace(" ", "_").lower()


def read_split_lists(folder: Path | str, number: int = 3) -> dict[str, tuple[str, ...]]:
    """The three lists of ``folder`` as ``{"train" | "val" | "test": ("class/video", ...)}``, in file order.

    Class names may hold spaces. Raises DataError, naming file and line, for a missing or empty list, a line that
    is not `class/video`, a video listed twice or in two splits, and a class that occurs in two splits.
    """
    lists, problems = scan_split_lists(folder, number)
    if problems:
        more = f" (and {len(problems) - 1} more of the kind)" if len(problems) > 1 else ""
        raise DataError(f"{problems[0]}{more}")
    return lists


def scan_split_lists(folder: Path | str, number: int = 3) -> tuple[dict[str, tuple[str, ...]], list[DataProblem]]:
    """What can be read of the lists, and everything that is wrong with them; never raises for bad content.

    The returned lists hold each well-formed video once, in the first split that names it.
    """
    folder = Path(folder)
    absent = [list_path(folder, split, number) for split in SPLITS]
    absent = [path for path in absent if not path.is_file()]
    problems = [
        DataProblem(str(path), "split list not found", f"write it, one `class/video` a line{_other_numbers(folder)}")
        for path in absent
    ]
    lists: dict[str, tuple[str, ...]] = {split: () for split in SPLITS}
    seen: dict[str, tuple[str, str]] = {}  # normalised id -> (split, place of its first line)
    class_home: dict[str, tuple[str, str]] = {}  # normalised class -> (split, place of its first line)
    spelling: dict[str, tuple[str, str]] = {}  # normalised class -> (name, place) of its last new spelling
    for split in SPLITS:
        path = list_path(folder, split, number)
        if path in absent:
            continue
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            problems.append(DataProblem(str(path), f"not UTF-8 text ({error.reason})", "save the list as UTF-8"))
            continue
        except OSError as error:
            problems.append(DataProblem(str(path), f"cannot be read ({error.strerror})", "check its permissions"))
            continue
        labelled = all(_FRAMES_AND_LABEL.search(line.strip()) for line in lines if line.strip())
        videos: list[str] = []
        faulty: dict[str, list[tuple[str, str]]] = {}  # by kind, the place and text of each line
        for row, line in enumerate(lines, start=1):
            place, video = f"{path}:{row}", line.strip()
            if not video:
                continue
            fault = _line_fault(video, labelled)
            if fault:
                faulty.setdefault(fault, []).append((place, video))
                video = _cleaned(video)
                if _line_fault(video, False):
                    continue
            key = normalise_name(video)
            class_key = key.split("/")[0]
            home, first = class_home.setdefault(class_key, (split, place))
            if key in seen:
                problems.append(
                    DataProblem(place, f"{video!r} is already listed at {seen[key][1]}", "keep one of the two lines")
                )
                continue
            if home != split:
                message = f"class {video.split('/')[0]!r} belongs to the {home} split ({first})"
                problems.append(DataProblem(place, message, "a class may be in one split only: move or drop its lines"))
                class_home[class_key] = (split, place)  # report the clash once, not for every video
            name = video.split("/")[0]
            spelt, where = spelling.setdefault(class_key, (name, place))
            if home == split and name != spelt:
                problems.append(DataProblem(place, f"class {name!r} is spelt {spelt!r} at {where}", "spell it one way"))
                spelling[class_key] = (name, place)  # once, not for every video
            seen[key] = (split, place)
            videos.append(video)
        for fault, found in faulty.items():
            place, video = found[0]
            more = f", and {len(found) - 1} more lines of this list likewise" if len(found) > 1 else ""
            problems.append(DataProblem(place, f"{video!r} {fault}{more}", "write `class/video`, and nothing else"))
        if not videos and not faulty:
            problems.append(DataProblem(str(path), "lists no video", "write one `class/video` a line"))
        lists[split] = tuple(videos)
    return lists, problems


def write_split_lists(folder: Path | str, lists: Mapping[str, Sequence[str]], number: int = 3) -> None:
    """Write the three lists (LF line ends, each file replaced atomically), so that `read_split_lists` reads them."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        text = "".join(f"{video}\n" for video in lists[split])
        write_atomic(list_path(folder, split, number), [text.encode("utf-8")])


def _line_fault(video: str, labelled: bool) -> str:
    """What is wrong with a line. labelled: every line of the list ends in two numbers, as TSN's and TSM's do."""
    if _LABEL.sub("", video).lower().endswith(VIDEO_SUFFIXES) and not video.lower().endswith(VIDEO_SUFFIXES):
        return "carries a file extension and a label"
    if labelled:
        return "carries a number of frames and a label"
    parts = video.split("/")
    if len(parts) != 2 or not all(part.strip() for part in parts) or ".." in parts:
        return "is not `class/video`"
    if video.lower().endswith(VIDEO_SUFFIXES):
        return "carries a file extension"
    return ""


def _cleaned(video: str) -> str:
    """The video that a line with an ending or labels means, so that its files are looked at all the same."""
    bare = _LABEL.sub("", _FRAMES_AND_LABEL.sub("", video))
    return bare[: bare.rfind(".")] if bare.lower().endswith(VIDEO_SUFFIXES) else bare


def _other_numbers(folder: Path) -> str:
    """A hint when lists of another number stand in the folder."""
    names = sorted(path.name for path in folder.glob("*list[0-9][0-9].txt")) if folder.is_dir() else []
    return f", or set the list number to that of {', '.join(names)}" if names else ""
