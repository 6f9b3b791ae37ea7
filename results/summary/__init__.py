"""Records as rows: means over seeds, gains, ranks and findings."""
