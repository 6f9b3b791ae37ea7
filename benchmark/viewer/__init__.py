"""Test episodes to look at, with the answers of finished networks."""
