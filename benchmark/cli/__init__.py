"""The command line: typer commands, one group a file; no work of their own."""
