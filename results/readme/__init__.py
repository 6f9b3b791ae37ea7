"""README and docs written from the reference records."""
