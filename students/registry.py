"""Registries of plug-ins (backbones, heads, losses, experts): a file with one decorator adds an entry."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class UnknownNameError(Exception):
    """A name that is not registered; the message has the nearest known names."""


class Registry(Generic[T]):
    """Named plug-ins of one kind, filled by ``@registry.register("name")`` when their file is imported."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Register the decorated object as ``name``; raises ValueError when the name is taken by another."""

        def enter(plugin: T) -> T:
            if name in self._entries and self._entries[name] is not plugin:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = plugin
            return plugin

        return enter

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownNameError(f"unknown {self.kind} {name!r}: {nearest(name, self._entries)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint about an unknown name for an error message: the known names like it, then all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    return f"{hint}known: {', '.join(known) or 'none'}"


def import_all(package_name: str, package_path: list[str]) -> None:
    """Import every module of a package, so that each file's decorators run."""
    for module in pkgutil.iter_modules(package_path):
        importlib.import_module(f"{package_name}.{module.name}")
