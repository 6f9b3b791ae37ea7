"""Blocks of the documentation that are generated from records: cog calls these functions from the Markdown pages."""

from tools.docs.speed import speed_aims, speed_bounds, speed_cases, speed_machine, speed_memory
from tools.docs.statistics import class_table, cost_table, detectable_table, interval_table, pairing_table
from tools.docs.tables import conditions, differences, gains_table, main_table, variants_table

__all__ = [
    "class_table",
    "conditions",
    "cost_table",
    "detectable_table",
    "differences",
    "gains_table",
    "interval_table",
    "main_table",
    "pairing_table",
    "speed_aims",
    "speed_bounds",
    "speed_cases",
    "speed_machine",
    "speed_memory",
    "variants_table",
]
