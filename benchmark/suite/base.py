"""What suites of every protocol share: variants of themselves, and errors in words."""

from collections.abc import Iterator
from typing import Any, Self

from pydantic import Field, ValidationError

from fewdistill.benchmark.suite.sections import NAMED, Section


class WithVariants(Section):
    """A suite that may hold variants of itself."""

    variant: dict[str, dict[str, Any]] = Field(
        {}, description="by name, settings that differ from the suite's: each is run, and compared with the suite"
    )

    def with_variant(self, name: str) -> Self:
        """The suite with a variant's settings in the place of its own; "" is the suite as it stands."""
        if not name:
            return self
        return self.model_validate(
            deep_merge(self.model_dump(exclude_unset=True, exclude={"variant"}), self.variant[name])
        )

    def versions(self) -> Iterator[tuple[str, Self]]:
        """The suite as it stands under the name "", then its variants."""
        for name in ("", *self.variant):
            yield name, self.with_variant(name)


def deep_merge(values: dict[str, Any], changes: dict[str, Any], at: tuple[str, ...] = ()) -> dict[str, Any]:
    """values with changes merged into them, section by section."""
    if at in NAMED and "name" in changes:
        unread = NAMED[at].unread_by(changes["name"])
        values = {key: value for key, value in values.items() if key not in unread}
    merged = {**values, **changes}
    for key, new in changes.items():
        if isinstance(new, dict) and isinstance(values.get(key), dict):
            merged[key] = deep_merge(values[key], new, (*at, key))
    return merged


def first_problem(error: ValueError) -> str:
    """The first problem of a ValidationError in words, or the message of another ValueError."""
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors()[0]
    why = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
    return ": ".join(filter(None, [".".join(map(str, problem["loc"])), why]))
