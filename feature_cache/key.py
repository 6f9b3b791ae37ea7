"""Keys of cache entries: everything that decides their rows, and the hash that names their folder."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fewdistill.feature_cache.errors import CacheError

DIGEST_LENGTH = 24
_SCALARS = (str, int, float, bool, type(None))


def canonical_json(value: Any) -> str:
    """The one JSON text of a plain value: sorted keys, no spaces, ASCII, no NaN. Equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


@dataclass(frozen=True)
class Key:
    """Everything that decides an entry's rows, and nothing else (no path, device or worker count).

    kind: what the rows are, such as "tokens". fields: str, int, finite float, bool, None, and lists and
    str-keyed mappings of these; order of mapping keys does not count, 1 and 1.0 differ. The fields are copied, so
    changing the caller's mapping afterwards changes no key. Equality and hash go by the canonical JSON.

    Raises CacheError naming the field that is NaN, infinite or not plain JSON.
    """

    kind: str
    fields: Mapping[str, Any] = field(compare=False)
    canonical: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if type(self.kind) is not str or not self.kind:
            raise CacheError(f"a key's kind is a non-empty string, not {self.kind!r}")
        plain = _plain(self.fields, "fields")
        if not isinstance(plain, dict):
            raise CacheError(f"a key's fields are a mapping, not a {type(self.fields).__name__}")
        object.__setattr__(self, "fields", plain)
        object.__setattr__(self, "canonical", canonical_json({"kind": self.kind, "fields": plain}))

    @property
    def digest(self) -> str:
        """First 24 hex digits of the sha256 of the canonical JSON: the folder's name."""
        return hashlib.sha256(self.canonical.encode("ascii")).hexdigest()[:DIGEST_LENGTH]

    def __str__(self) -> str:
        return f"{self.kind} {canonical_json(self.fields)}"


def _plain(value: Any, name: str) -> Any:
    """A deep copy of str, int, float, bool, None, list and dict only; anything else is refused by its dotted name."""
    if isinstance(value, Mapping):
        for inner in value:
            if type(inner) is not str:
                raise CacheError(f"key field {name}: mapping keys are strings, not {inner!r}")
        return {inner: _plain(value[inner], f"{name}.{inner}") for inner in value}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{name}[{index}]") for index, item in enumerate(value)]
    # Exact types: a numpy number or an enum would hash by how it happens to print.
    if type(value) not in _SCALARS:
        raise CacheError(
            f"key field {name} is a {type(value).__module__}.{type(value).__qualname__}; "
            "give a plain str, int, float, bool, None, list or mapping"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise CacheError(f"key field {name} is {value}; a key holds finite numbers only")
    return value
