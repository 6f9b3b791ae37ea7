"""Keyed, sharded, checksummed storage of feature rows as npy files; knows no model.

A `Store` is a folder of entries. An `Entry` holds one array row a video id, under a `Key` that says how the rows
came about, in immutable shards that several processes may write at once and readers map into memory.
"""

from fewdistill.feature_cache.atomic import atomic_file, sweep, write_atomic
from fewdistill.feature_cache.entry import Entry, Fault, Shard
from fewdistill.feature_cache.errors import CacheError, InUseError
from fewdistill.feature_cache.key import Key
from fewdistill.feature_cache.layout import export_tree
from fewdistill.feature_cache.lock import run_lock
from fewdistill.feature_cache.manifest import sealed, unsealed
from fewdistill.feature_cache.shard_writer import ShardWriter
from fewdistill.feature_cache.store import Store

__all__ = [
    "CacheError",
    "Entry",
    "Fault",
    "InUseError",
    "Key",
    "Shard",
    "ShardWriter",
    "Store",
    "atomic_file",
    "export_tree",
    "run_lock",
    "sealed",
    "sweep",
    "unsealed",
    "write_atomic",
]
