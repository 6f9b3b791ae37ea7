"""The text of the written tables against figures worked out from the stored arrays with numpy and scipy alone."""

import csv
import json
import re
import tempfile
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from fewdistill.results.records.store import RecordStore
from fewdistill.results.summary.rows import summarise
from fewdistill.results.tables.files import write_table
from fewdistill.results.tables.tables import gains_table, main_table
from fewdistill.results.tables.text import main_notes, readable, readable_gains
from tests.results import made

Outcomes = dict[tuple[str, str, str, int], dict[int, np.ndarray]]  # (data set, model, distillation, shot) -> seed


def outcomes(folder: Path) -> Outcomes:
    """Accuracy of each episode in percent, from the files as they lie on the disk."""
    found: Outcomes = {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        cell = record["cell"]
        if record["status"] == "done":
            place = cell["dataset"], cell["model"], cell["distillation"], cell["shot"]
            with np.load(path.with_suffix(".npz")) as arrays:
                right = arrays["correct"].astype(float)
            found.setdefault(place, {})[cell["seed"]] = 100 * right.sum(axis=1) / right.shape[1]
    return found


def difference(ours: dict[int, np.ndarray], theirs: dict[int, np.ndarray]) -> tuple[float, float, float, float] | None:
    """Mean, ends of the 95 % interval and p of ours - theirs: two-way random effects, the seeds' part no smaller than
    that of seeds that are all alike, or a t test with one seed."""
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return None
    grid = np.array([ours[seed] - theirs[seed] for seed in seeds])
    s, e = grid.shape
    mean = grid.sum() / grid.size
    ms_episode = s * ((grid.mean(0) - mean) ** 2).sum() / (e - 1)
    least, parts = (0.0, e - 1), [(ms_episode / e, e - 1)]
    if s > 1:
        ms_seed = e * ((grid.mean(1) - mean) ** 2).sum() / (s - 1)
        ms_rest = ((grid - grid.mean(0) - grid.mean(1)[:, None] + mean) ** 2).sum() / ((s - 1) * (e - 1))
        parts = [(max(0.0, ms_episode - ms_rest) / grid.size, e - 1), (ms_seed / grid.size, s - 1)]
        least = ms_rest / grid.size, e - 1
    if sum(variance for variance, _ in [*parts, least]) < 1e-20:
        return mean, mean, mean, float(abs(mean) < 1e-12)

    def half(p: float) -> float:
        *others, last, floor = (v * scipy_stats.t(df).isf(p / 2) ** 2 for v, df in [*parts, least])
        return np.sqrt(sum(others) + max(last, floor))

    low, high = -60.0, 0.0  # powers of ten between which p lies
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if half(10**middle) > abs(mean) else (low, middle)
    return mean, mean - half(0.05), mean + half(0.05), 10**low


def holm(p: dict[tuple[str, str, str, int], float]) -> dict[tuple[str, str, str, int], float]:
    worst, corrected = 0.0, {}
    for rank, place in enumerate(sorted(p, key=lambda place: p[place])):
        worst = max(worst, min(1.0, p[place] * (len(p) - rank)))
        corrected[place] = worst
    return corrected


def places(found: Outcomes) -> dict[tuple[str, str, str, int], tuple[int, int, int]]:
    """Rank among the students of a data set and shot, and the ranks that the paired intervals leave open."""
    answer = {}
    for place, seeds in found.items():
        rivals = [p for p in found if (p[0], p[3]) == (place[0], place[3]) and p != place and p[2] != "-"]
        mean = np.mean([values.mean() for values in seeds.values()])
        above = sum(np.mean([v.mean() for v in found[p].values()]) > mean + 1e-7 for p in rivals)
        tests = [difference(seeds, found[p]) for p in rivals]
        better = sum(1 for test in tests if test and test[2] < 0)
        worse = sum(1 for test in tests if test and test[1] > 0)
        rank = 1 + above
        answer[place] = rank, min(rank, 1 + better), max(rank, len(rivals) + 1 - worse)
    return answer


def markdown(path: Path) -> list[dict[str, str]]:
    lines = [line[2:-2].split(" | ") for line in path.read_text().splitlines() if line.startswith("|")]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def latex(path: Path) -> list[list[str]]:
    """Cells of the body; a model stands once for its lines."""
    body = path.read_text().split("\\midrule\n")[1].split("\\bottomrule")[0].replace("\\addlinespace\n", "")
    lines = [re.sub(r"\\textbf\{(.*?)\}(?= [&\\])", r"**\1**", line)[:-3].split(" & ") for line in body.splitlines()]
    for above, line in pairwise(lines):
        line[0] = line[0] or above[0]
    return [[cell.replace("$\\pm$", "±").replace("$-$", "-").replace("$<$", "<") for cell in line] for line in lines]


def same(text: str, value: float, decimals: int = 2) -> bool:
    """Whether a text is the value, rightly rounded."""
    digits = text.partition(".")[2]
    return len(digits) == decimals and abs(float(text) - value) <= 0.5 * 10**-decimals + 1e-9


def p_same(text: str, value: float) -> bool:
    return value < 0.001 + 1e-9 if text == "< 0.001" else same(text, value, 3)


level = st.sampled_from([0.3, 0.5, 0.55, 0.9])
setting = st.tuples(st.sampled_from(["resnet18", "x3d_s"]), st.sampled_from(["none", "d2m", "tokens"]))


@settings(derandomize=True, deadline=None, max_examples=12, phases=[Phase.generate])  # to shrink takes minutes
@given(
    students=st.dictionaries(setting, st.tuples(level, st.sets(st.integers(0, 3), min_size=1)), min_size=2, max_size=6),
    datasets=st.sampled_from([("hmdb51",), ("hmdb51", "ucf101")]),
    shots=st.sampled_from([(5,), (1, 5)]),
    count=st.integers(4, 30),
    teacher=st.booleans(),
)
def test_written_figures_are_those_of_the_arrays(
    students: dict[tuple[str, str], tuple[float, set[int]]],
    datasets: tuple[str, ...],
    shots: tuple[int, ...],
    count: int,
    teacher: bool,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = RecordStore(Path(folder) / "records")
        for dataset, shot in [(dataset, shot) for dataset in datasets for shot in shots]:
            for (model, distillation), (high, seeds) in students.items():
                for seed in seeds:
                    cell = made.student(model, distillation, shot, seed, dataset=dataset)
                    store.write(*made.finished(cell, high, count=count))
            if teacher:
                cell = made.student("mfm", "-", shot, 0, dataset=dataset, role="teacher")
                store.write(*made.finished(cell, 0.95, count=count))
        rows = summarise(store.scan()[0])
        table, gains = main_table(rows), gains_table(rows)
        write_table(table, Path(folder) / "main", readable(table), main_notes(table))
        if len(gains):
            write_table(gains, Path(folder) / "gains", readable_gains(gains))
        check(Path(folder), len(datasets) > 1)


def check(folder: Path, several: bool) -> None:
    found = outcomes(folder / "records")
    tests = {
        place: test
        for place, seeds in found.items()
        if place[2] not in ("none", "-")
        and (plain := found.get((place[0], place[1], "none", place[3])))
        and (test := difference(seeds, plain))
    }
    corrected = holm({place: test[3] for place, test in tests.items()})
    ranked = places({place: seeds for place, seeds in found.items() if place[2] != "-"})
    with (folder / "main.csv").open() as file:
        lines = list(csv.reader(file))
    depth = 3 if several else 2
    heads = [" ".join(part for part in column if part) for column in zip(*lines[:depth], strict=True)]
    exact = {(line[0], line[1]): dict(zip(heads[2:], line[2:], strict=True)) for line in lines[depth + 1 :]}
    shown = markdown(folder / "main.md")
    typeset = latex(folder / "main.tex")
    assert [list(line.values()) for line in shown] == [[cell.replace("\\_", "_") for cell in line] for line in typeset]
    uniform = {len(seeds) for seeds in found.values()}
    for place, seeds in found.items():
        dataset, model, distillation, shot = place
        group = f"{dataset} {shot}-shot" if several else f"{shot}-shot"
        cells = {name.removeprefix(f"{group} "): value for name, value in exact[model, distillation].items()}
        [line] = [row for row in shown if (row["model"], row["distillation"]) == (model, distillation)]
        text = {name.removeprefix(f"{group} "): value for name, value in line.items()}
        by_episode = np.mean(list(seeds.values()), axis=0)
        half = 1.96 * np.sqrt(((by_episode - by_episode.mean()) ** 2).mean() / len(by_episode))
        assert float(cells["accuracy %"]) == pytest.approx(by_episode.mean())
        assert float(cells["±"]) == pytest.approx(half, abs=1e-9)
        mean, _, rest = text["accuracy %"].strip("*").partition(" ± ")
        assert same(mean, by_episode.mean()) and same(rest.split()[0], half)
        seeds_said = f"({len(seeds)} seed{'s' if len(seeds) > 1 else ''})"
        assert rest.endswith(seeds_said) if len(uniform) > 1 else "seed" not in rest
        if distillation == "-":
            assert text["rank"] == cells["rank"] == text["gain (95 %)"] == "a teacher"
            continue
        rank, best, worst = ranked[place]
        assert (cells["rank"], cells["rank best"], cells["rank worst"]) == (str(rank), str(best), str(worst))
        assert text["rank"] == f"{rank} ({best} to {worst})"
        rivals = [p for p in ranked if (p[0], p[3]) == (dataset, shot)]
        if rank == 1 and len(rivals) > 1:
            assert text["accuracy %"].startswith("**")
        if text["accuracy %"].startswith("**"):
            top = max(np.mean([v.mean() for v in found[p].values()]) for p in rivals)
            assert top - by_episode.mean() < 0.01
        if place not in tests:
            assert text["gain (95 %)"] and not re.search(r"\d", text["gain (95 %)"])
            continue
        gain, low, high, _ = tests[place]
        values = [float(cells[name]) for name in ("gain", "gain low", "gain high", "p (Holm)")]
        assert values == pytest.approx([gain, low, high, corrected[place]], abs=1e-7)
        parts = re.fullmatch(r"([+-].*) \[(.*), (.*)\], p (.*)", text["gain (95 %)"])
        assert parts and all(map(same, parts.groups()[:3], (gain, low, high)))
        assert p_same(parts[4], corrected[place])
    if tests:
        check_gains(folder, tests, corrected)
    assert all(cell for line in shown for cell in line.values())
    assert all(cell for line in lines[depth + 1 :] for cell in line)
    assert "nan" not in (folder / "main.csv").read_text().lower()


def check_gains(folder: Path, tests: dict, corrected: dict) -> None:
    lines = markdown(folder / "gains.md")
    assert len(lines) >= len(tests)
    for (dataset, model, distillation, shot), (gain, low, high, p) in tests.items():
        [line] = [
            line
            for line in lines
            if (line.get("dataset", dataset), line["model"], line["distillation"], line["shot"])
            == (dataset, model, distillation, str(shot))
        ]
        wide = line["over both"] if line["seeds"] != "1" else line["over episodes"]
        assert same(line["gain"], gain) and all(map(same, wide[1:-1].split(", "), (low, high)))
        assert p_same(line["p"], p) and p_same(line["Holm"], corrected[dataset, model, distillation, shot])
        assert (line["over seeds"] == "one seed") == (line["seeds"] == "1")


def test_ranks_share_places_and_leave_open_what_the_pairs_do() -> None:
    """Two alike, one clearly worse: the two share the first place and could be second, the third could not."""
    with tempfile.TemporaryDirectory() as folder:
        store = RecordStore(folder)
        good, answers = made.finished(made.student("a"), 0.9, count=100)
        twin, _ = made.finished(made.student("b"), 0.9, count=100)
        store.write(good, answers)
        store.write(twin.model_copy(update={"metrics": good.metrics}), answers)
        store.write(*made.finished(made.student("c"), 0.3, count=100))
        found = {row.setting.model: row.rank for row in summarise(store.scan()[0])}
        assert [(r.place, r.best, r.worst, r.of) for r in found.values() if r] == [
            (1, 1, 2, 3),
            (1, 1, 2, 3),
            (3, 3, 3, 3),
        ]


def test_every_pair_once(tmp_path: Path) -> None:
    """Ranges from pairs agree with each other: who is better by an interval never has the worse range."""
    store = RecordStore(tmp_path)
    for number in range(6):
        for seed in range(3):
            store.write(*made.finished(made.student(f"m{number}", seed=seed), 0.4 + 0.07 * number, count=60))
    rows = [row for row in summarise(store.scan()[0]) if row.rank]
    for one, two in combinations(rows, 2):
        assert one.rank and two.rank and one.accuracy and two.accuracy
        assert (one.rank.place < two.rank.place) == (one.accuracy.mean > two.accuracy.mean)
        assert one.rank.best is not None and one.rank.worst is not None
        assert 1 <= one.rank.best <= one.rank.place <= one.rank.worst <= 6
