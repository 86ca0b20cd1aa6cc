"""One table, two looks: rich in a terminal, aligned plain text when piped. Says nothing about what is in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Group

LONGEST = 240  # characters of a cell


@dataclass
class Table:
    """Rows of text under headers.

    Attributes:
        title: one line above the table, or "".
        columns: headers; a leading ">" aligns the column to the right.
        rows: cells as text, one list per row.
        notes: lines below the table.
    """

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def plain(self) -> str:
        """Aligned text without colour or box characters."""
        heads = [c.lstrip(">") for c in self.columns]
        right = [c.startswith(">") for c in self.columns]
        table = [heads, *([shown(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[k]) for row in table) for k in range(len(heads))]
        lines = [self.title] if self.title else []
        for row in table:
            cells = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True))
            lines.append(("  " + "  ".join(cells)).rstrip())
        return "\n".join([*lines, *(f"  {shown(n, len(n))}" for n in self.notes)])


def shown(text: str, most: int = LONGEST) -> str:
    """A name from a model as it may stand in a terminal: one line, printable, its middle left out where it is long.

    Escape sequences of the terminal, line breaks and reversed writing are spelled out.
    """
    if len(text) > most:
        text = f"{text[: most - most // 3 - 3]}...{text[-(most // 3) :]}"
    return text if text.isprintable() else "".join(c if c.isprintable() else _spelled(c) for c in text)


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def show(tables: Sequence[Table], stream: TextIO) -> None:
    """Print tables to `stream`: rich when it is a terminal and NO_COLOR is not set, plain otherwise."""
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        stream.write("\n\n".join(t.plain() for t in tables) + "\n")
        return
    from rich.console import Console

    console = Console(file=stream, width=shutil.get_terminal_size().columns)
    for table in tables:
        console.print(rendered(table))


def rendered(table: Table) -> Group:
    """The table and its notes for a rich console. What is in it is text, never markup."""
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    title = Text(table.title, style="table.title") if table.title else None
    rich_table = RichTable(title=title, title_justify="left", header_style="bold")
    for column in table.columns:
        rich_table.add_column(
            Text(column.lstrip(">")), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    for row in table.rows:
        rich_table.add_row(*(Text(shown(c)) for c in row))
    return Group(rich_table, *(Text("  " + shown(note, len(note)), style="dim") for note in table.notes))
