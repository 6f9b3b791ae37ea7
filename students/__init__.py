"""Torch modules only: backbones, heads and distillation losses. No files, no data sets."""


class StudentError(Exception):
    """A network, head or loss used in a way it cannot serve; the message says what to change."""
