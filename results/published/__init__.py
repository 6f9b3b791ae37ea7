"""Figures published by others, with their sources."""
