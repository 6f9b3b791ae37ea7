"""The files of each modality in a data set's folder."""

import os
from pathlib import Path

from fewdistill.benchmark.data.problem import FileError
from fewdistill.benchmark.data.video.splits import VIDEO_SUFFIXES, normalise_name


def places(root: Path, modality: str) -> list[Path]:
    """Folders of class folders in which a modality may lie, the preferred one first."""
    if modality == "joints":
        return [root / "joints"]
    tree = root / "l8" / f"{modality}_l8"
    return [tree, root / "l8", root] if modality == "rgb" else [tree]


def find_videos(root: Path, modality: str, classes: set[str]) -> dict[str, str]:
    """Path of the frame folder, video file or joint file of every video, by normalised "class/video".

    ``classes`` are the normalised names of the classes looked at; each of their folders is listed once. The first
    of `places` that holds anything counts. Raises FileError when two entries answer to one id.
    """
    for place in places(root, modality):
        suffixes = (".npy",) if modality == "joints" else VIDEO_SUFFIXES if place == root else ()
        found = _scan(place, classes, suffixes)
        if found:
            return found
    return {}


def _scan(place: Path, classes: set[str], suffixes: tuple[str, ...]) -> dict[str, str]:
    """Entries of the wanted class folders: directories, or with ``suffixes`` files ending so."""
    found: dict[str, str] = {}  # no Path: of a hundred thousand they take a second to make
    if not place.is_dir():
        return found
    for group in _listed(place):
        if normalise_name(group.name) not in classes or not group.is_dir():
            continue
        for entry in _listed(group):
            stem, suffix = os.path.splitext(entry.name) if suffixes else (entry.name, "")
            if (suffix.lower() not in suffixes) if suffixes else not entry.is_dir():
                continue
            key = normalise_name(f"{group.name}/{stem}")
            if key in found:
                raise FileError(entry.path, f"the same video to the lists as {found[key]}", "remove one of the two")
            found[key] = entry.path
    return found


def _listed(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """Entries of a folder but hidden ones, which are the system's: "._v0.mp4" of macOS is no video."""
    try:
        return [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        raise FileError(os.fspath(folder), f"cannot be read ({error.strerror})", "check its permissions") from None


def near(root: Path, video_id: str) -> list[str]:
    """Names of the files that lie where a missing video would, under an ending that is not read."""
    group, _, video = video_id.partition("/")
    folders = [folder for folder in _folders(root) if normalise_name(folder.name) == normalise_name(group)]
    return sorted(
        entry.name
        for folder in folders
        for entry in _listed(folder)
        if normalise_name(os.path.splitext(entry.name)[0]) == normalise_name(video) and entry.is_file()
    )


def _folders(root: Path) -> list[Path]:
    return [Path(entry.path) for entry in _listed(root) if entry.is_dir()]
