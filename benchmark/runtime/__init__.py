"""The process a run lives in: devices, processes, progress, seeds, errors, provenance."""
