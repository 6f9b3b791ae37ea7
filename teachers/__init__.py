"""From pixels to modalities to fused tokens: experts, fusion and score ensembles."""


class TeacherError(Exception):
    """A teacher whose weights, library or source modality is missing; the message says how to get it."""
