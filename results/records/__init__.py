"""Records: their schema, storage, merging and the command that reproduces one."""
