"""What commands print on standard output."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

OUT = Console()


def print_line(text: object) -> None:
    """A line as it is: brackets are text, and no terminal's width breaks a path."""
    OUT.print(str(text), markup=False, highlight=False, soft_wrap=True)


def add_row(table: Table, *cells: object) -> None:
    """A row of plain text."""
    table.add_row(*(escape(str(cell)) for cell in cells))
