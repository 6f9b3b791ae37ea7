"""The catalogue of plug-ins."""

import sys
from pathlib import Path

import pytest

from fewdistill.students.registry import Registry, UnknownNameError, import_all


def shelf() -> Registry[int]:
    registry: Registry[int] = Registry("head")
    for number, name in enumerate(("trx", "otam", "proto")):
        registry.register(name)(number)
    return registry


def test_entries_are_found_counted_and_listed_in_order() -> None:
    registry = shelf()
    assert registry["otam"] == 1 and "otam" in registry and "meta" not in registry
    assert list(registry) == ["otam", "proto", "trx"] and len(registry) == 3


def test_an_unknown_name_raises_with_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown head 'trxx': did you mean trx\? known: otam, proto, trx"):
        shelf()["trxx"]
    with pytest.raises(UnknownNameError, match=r"unknown head 'zzzz': known: otam"):
        shelf()["zzzz"]
    with pytest.raises(UnknownNameError, match="known: none"):
        Registry("head")["trx"]


def test_a_name_is_given_once() -> None:
    registry = shelf()
    with pytest.raises(ValueError, match="head 'trx' is registered twice"):
        registry.register("trx")(9)
    registry.register("trx")(0)  # the same object again, as a reload does
    assert registry["trx"] == 0


def test_the_decorator_gives_the_plugin_back() -> None:
    registry: Registry[type] = Registry("head")

    @registry.register("mine")
    class Mine:
        pass

    assert registry["mine"] is Mine


def test_a_new_file_is_all_a_plugin_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "plugged_in_heads"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from fewdistill.students.registry import Registry, import_all\n"
        "SHELF = Registry('head')\n"
        "import_all(__name__, list(__path__))\n"
    )
    (package / "fresh.py").write_text("from plugged_in_heads import SHELF\nSHELF.register('fresh')(42)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import plugged_in_heads

    try:
        assert plugged_in_heads.SHELF["fresh"] == 42
        import_all("plugged_in_heads", [str(package)])
        assert list(plugged_in_heads.SHELF) == ["fresh"]
    finally:
        for name in [name for name in sys.modules if name.startswith("plugged_in_heads")]:
            del sys.modules[name]
