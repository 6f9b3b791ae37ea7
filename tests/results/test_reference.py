"""The committed records: whole, and each named by what it says it was made with."""

from pathlib import Path
from typing import Any

import pytest

from fewdistill.results.records.bundle import RECORDS, open_records
from fewdistill.results.records.record import key_of

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
BUNDLES = sorted(path.parent.relative_to(REFERENCE).as_posix() for path in REFERENCE.rglob(RECORDS))


def hashes(value: Any) -> set[str]:
    """Every sha256 in hex within a nested value."""
    if isinstance(value, dict):
        return set().union(*map(hashes, value.values()))
    if isinstance(value, list):
        return set().union(*map(hashes, value))
    is_hash = isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
    return {value} if is_hash else set()


@pytest.mark.parametrize("bundle", BUNDLES)
def test_every_committed_record_is_named_by_its_settings(bundle: str) -> None:
    """Of schema 3: the settings that an identity names by hash hash to that, and so on down to what has no hash.

    Records of schema 2 do not spell their settings out: their key is the hash of their identity, and that is all.
    """
    results, problems = open_records(REFERENCE / bundle).scan()
    assert results and not problems
    for record in (result.record for result in results):
        assert record.status == "done" and key_of(record.identity) == record.key
        if record.schema_version == 2:
            assert not record.settings
            continue
        assert key_of(record.settings["trained"]) == record.identity["trained"]
        named = hashes(record.identity) | hashes(record.settings)
        spelt_out = {key_of(settings): name for name, settings in record.settings.items()}
        assert spelt_out.keys() <= named, "settings that nothing names"
