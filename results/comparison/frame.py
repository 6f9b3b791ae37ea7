"""A comparison as a pandas frame."""

from pathlib import Path

import pandas as pd

from fewdistill.results.comparison.compare import compare
from fewdistill.results.comparison.selection import find_selection
from fewdistill.results.comparison.verdicts import outcome


def compared_frame(one: str, two: str, shot: int | None, runs: Path) -> pd.DataFrame:
    """One line a setting and shot that both selections have; see ``compare``.

    Columns: setting_a, setting_b, shot, a and b (the main figures), gain (a - b) with the ends low and high of its 95 %
    interval over seeds and episodes, p (Holm-corrected), seeds, episodes, better. Figures are as stored: accuracies in
    0..1.
    """
    found = compare(find_selection(one, runs), find_selection(two, runs), shot)
    return pd.DataFrame(
        [
            {
                "setting_a": difference.a.name,
                "setting_b": difference.b.name,
                "shot": difference.shot,
                "a": difference.accuracy[0],
                "b": difference.accuracy[1],
                "gain": difference.headline.mean,
                "low": difference.headline.low,
                "high": difference.headline.high,
                "p": difference.p,
                "seeds": difference.n_seeds,
                "episodes": difference.n_episodes,
                "better": outcome(difference),
            }
            for difference in found.differences
        ]
    )
