"""What two records were made with that is not the same."""

from collections.abc import Iterator
from typing import Any

from fewdistill.results.records.record import Record, key_of

_MISSING = "(none)"


def differences(one: Record, two: Record) -> list[str]:
    """The settings in which two records differ, each as its path and both values: "base.base.epochs 15 -> 20".

    The settings that hashes stand for are compared where both records spell them out, the hashes where not.
    """
    return [f"{path} {_shown(a)} -> {_shown(b)}" for path, a, b in _differing(one, two)]


def differences_but_seed(one: Record, two: Record) -> list[str]:
    """The same for two seeds of one setting, which may differ in their seeds and in what was trained from them."""
    unlike = _differing(one, two)
    return [
        f"{path} {_shown(a)} -> {_shown(b)}" for path, a, b in unlike if path.split(".")[-1] not in ("seed", "trained")
    ]


def _differing(one: Record, two: Record) -> list[tuple[str, Any, Any]]:
    spelt_out = bool(one.settings and two.settings)
    a, b = (dict(_leaves(r.identity | (r.settings if spelt_out else {}), "")) for r in (one, two))
    unlike = [(path, a.get(path, _MISSING), b.get(path, _MISSING)) for path in sorted(a.keys() | b.keys())]
    unlike = [(path, x, y) for path, x, y in unlike if x != y]
    if not spelt_out or not unlike:
        return unlike
    known = {key_of(settings) for record in (one, two) for settings in record.settings.values()}
    spelt = [(path, x, y) for path, x, y in unlike if x not in known or y not in known]
    return spelt or unlike


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every plain value with its path, as text: 1 and true are not the same."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list | tuple) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value if isinstance(value, str) else repr(value)


def _shown(value: str) -> str:
    """A hash by its first twelve digits."""
    return value[:12] if len(value) == 64 and all(c in "0123456789abcdef" for c in value) else value
