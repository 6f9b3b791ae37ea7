"""Intervals and tests for accuracies: the one place to import them from. All intervals are 95 %.

What an interval covers is what it lets vary; nothing else is in it:

* ``closed_interval``: other episodes of these videos. The field's figure, and the narrowest.
* ``open_interval``: other episodes of other videos of these classes, from episodes that share no video.
* ``class_bootstrap``: other test classes, with videos of their own. ``hierarchical_bootstrap``: that, never narrower
  than other query videos of these classes alone; of several training seeds, other seeds as well.
* ``seed_interval``: other training seeds, for the mean; ``seed_spread``: how far one seed lies from another.
* ``paired_difference``, ``paired_over_seeds``, ``hierarchical_difference``: two methods on the same episodes.
* ``hypervolume_interval``, ``front_probability``: a whole Pareto front, from ``accuracy_draws``.

``detectable...`` and ``episodes_needed...`` say beforehand what a comparison of some size could have seen.
"""

from fewdistill.results.stats.bootstrap import class_bootstrap, hierarchical_bootstrap, hierarchical_difference
from fewdistill.results.stats.calibration import ece
from fewdistill.results.stats.intervals import (
    Interval,
    Spread,
    closed_interval,
    closed_over_seeds,
    open_interval,
    seed_interval,
    seed_spread,
)
from fewdistill.results.stats.paired import Paired, PairedOverSeeds, holm, paired_difference, paired_over_seeds
from fewdistill.results.stats.pareto import (
    accuracy_draws,
    front_probability,
    hypervolume,
    hypervolume_interval,
    pareto_front,
)
from fewdistill.results.stats.power import (
    Components,
    Needed,
    detectable,
    detectable_difference,
    detectable_over_seeds,
    difference_components,
    episodes_needed,
    episodes_needed_over_seeds,
    needed,
)

__all__ = [
    "Components",
    "Interval",
    "Needed",
    "Paired",
    "PairedOverSeeds",
    "Spread",
    "accuracy_draws",
    "class_bootstrap",
    "closed_interval",
    "closed_over_seeds",
    "detectable",
    "detectable_difference",
    "detectable_over_seeds",
    "difference_components",
    "ece",
    "episodes_needed",
    "episodes_needed_over_seeds",
    "front_probability",
    "hierarchical_bootstrap",
    "hierarchical_difference",
    "holm",
    "hypervolume",
    "hypervolume_interval",
    "needed",
    "open_interval",
    "paired_difference",
    "paired_over_seeds",
    "pareto_front",
    "seed_interval",
    "seed_spread",
]
