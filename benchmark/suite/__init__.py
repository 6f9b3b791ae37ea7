"""Suites: TOML files, their sections and checks, and the registry of what they can name."""
