"""Teachers: modality experts, fusions of token streams, and score ensembles."""


class TeacherError(Exception):
    """A teacher whose weights, library or source modality is missing; the message says how to get it."""
