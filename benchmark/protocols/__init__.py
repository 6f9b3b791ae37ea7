"""Protocols: what turns a suite into the cells of a stage graph, and scores them."""
