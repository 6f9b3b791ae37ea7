"""Matching rules, one a file. A head projects each video once and matches queries to labelled support.

``project(tokens) -> keys`` runs once per video: tokens (N, T, D) to a tuple of tensors with N first.
``match(support_keys, labels, query_keys, way) -> logits (B, Q, way)`` serves B episodes at once: keys
(B, S, ...) and (B, Q, ...), labels (B, S). Labels, not order, say which class a support video belongs to.
``forward(support, labels, query, way) -> logits (Q, way)`` is both, for the tokens of one episode.
``explain``, of heads that match frames, says which: see matched.py.
"""

from fewdistill.students.heads.base import Head
from fewdistill.students.registry import Registry, import_all

HEADS: Registry[type[Head]] = Registry("head")

import_all(__name__, list(__path__))
