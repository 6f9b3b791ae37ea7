"""A suite: one TOML file, checked before any compute. Unknown keys and impossible values name line and remedy."""

import difflib
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fewdistill.benchmark.runtime.errors import UserError
from fewdistill.benchmark.suite.registry import load_plugins
from fewdistill.benchmark.suite.sections import NAMED
from fewdistill.students.registry import UnknownNameError

SUITES = Path(__file__).parents[1] / "suites"


def suite_path(name_or_path: str) -> Path:
    """A suite file by path, or a shipped suite by name; UserError with the nearest names when there is none."""
    path = Path(name_or_path)
    if path.suffix == ".toml" and path.is_file():
        return path
    shipped = {p.stem: p for p in sorted(SUITES.glob("*.toml"))}
    if name_or_path in shipped:
        return shipped[name_or_path]
    near = difflib.get_close_matches(name_or_path, shipped, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"shipped suites: {', '.join(shipped)}"
    raise UserError(f"no suite {name_or_path!r}: {hint}")


def load(
    name_or_path: str, overrides: tuple[str, ...], model_of: Callable[[Mapping[str, Any]], type[BaseModel]]
) -> BaseModel:
    """Read and check a suite; ``overrides`` are ``section.key=value`` in TOML. UserError names line and remedy.

    model_of: the model of a suite with these values, asked once the suite's plug-ins are loaded.
    """
    path = suite_path(name_or_path)
    text = _text(path)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path.name}: not valid TOML: {error}") from error
    of_plugins = [override for override in overrides if override.partition("=")[0].strip() == "plugins"]
    for override in of_plugins:
        _apply(values, override)
    load_plugins(_plugins(path.name, values.get("plugins", [])))
    for override in overrides:  # which may name what the plug-ins brought
        if override not in of_plugins:
            _apply(values, override)
    try:
        kind = model_of(values)
        return kind.model_validate(values)
    except UnknownNameError as error:
        raise UserError(f"{path.name}: {error}") from error
    except ValidationError as error:
        raise UserError("\n".join(_explain(path.name, text, problem, kind) for problem in error.errors())) from error


def _text(path: Path) -> str:
    """The file, without the byte order mark that some editors write before it."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from None


def _plugins(suite: str, files: Any) -> list[str]:
    """They must be loaded before the suite can be checked, since it names what they bring."""
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise UserError(f'{suite}: plugins: write a list of files, plugins = ["my_head.py"]')
    return files


def _apply(values: dict[str, Any], override: str) -> None:
    dotted, equals, raw = override.partition("=")
    if not equals:
        raise UserError(f"--set {override!r}: write section.key=value, for example --set episodic.episodes=50")
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw
    *sections, key = dotted.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {override!r}: {section!r} is no section")
    values[key] = value
    if key == "name" and tuple(sections) in NAMED:
        for unread in NAMED[tuple(sections)].unread_by(value) & values.keys():
            del values[unread]


def _explain(file: str, text: str, problem: Any, kind: type[BaseModel]) -> str:
    location = [str(part) for part in problem["loc"]]
    dotted = ".".join(location) or "the suite"
    line = _line_of(text, location)
    where = f"{file}:{line}" if line else file
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], _known_keys(location[:-1], kind), n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(_known_keys(location[:-1], kind))}"
        return f"{where}: unknown key {dotted!r}: {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {dotted}: {message}"


def _known_keys(sections: list[str], model: type[BaseModel]) -> list[str]:
    for section in sections:
        field = model.model_fields.get(section)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _line_of(text: str, location: list[str]) -> int | None:
    """The line that sets the key, or its section's header; None when neither is written in the file."""
    section, header = "", None
    keys = [part for part in location if not part.isdigit()]
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped.strip("[] ")
            if section == ".".join(keys):
                header = number
        name = stripped.partition("=")[0].strip()
        if name and ".".join(filter(None, [section, name])) == ".".join(keys):
            return number
    return header
