"""Options of a plug-in, checked against its constructor's signature before anything is built."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model


def checked(where: str, kind: Callable[..., Any], given: Mapping[str, Any], leave: frozenset[str]) -> BaseModel:
    """The options as a model made from the signature of ``kind``: its names, types, bounds and defaults.

    where: the section of the suite, for messages; leave: parameters that no option may set. ValueError names the key.
    """
    parameters = inspect.signature(kind).parameters
    fields: dict[str, Any] = {
        key: (parameter.annotation, parameter.default) for key, parameter in parameters.items() if key not in leave
    }
    model = create_model(where, __config__=ConfigDict(extra="forbid", frozen=True), **fields)
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        known = f"unknown key, known: {', '.join(fields)}" if problem["type"] == "extra_forbidden" else problem["msg"]
        raise ValueError(f"{where}.{key}: {known}") from error


def chosen(options: BaseModel) -> dict[str, Any]:
    """The values of such a model, for the constructor."""
    return {key: getattr(options, key) for key in type(options).model_fields}
