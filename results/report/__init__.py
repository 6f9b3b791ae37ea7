"""The self-contained HTML page and the episode viewer's page."""
