"""Plots for papers, in matplotlib."""
