"""The tables, in Markdown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A heading, what is to be known about the numbers, the columns and the rows; the first column is text."""

    title: str
    notes: str
    columns: Row
    rows: Sequence[Row]

    def __str__(self) -> str:
        widths = [max(len(row[index]) for row in (self.columns, *self.rows)) for index in range(len(self.columns))]
        ruler = ("-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:]))
        lines = [self._line(row, widths) for row in (self.columns, ruler, *self.rows)]
        return "\n".join((f"## {self.title}", "", self.notes, "", *lines))

    @staticmethod
    def _line(row: Row, widths: Sequence[int]) -> str:
        first, *others = zip(row, widths, strict=True)
        return " | ".join(("| " + first[0].ljust(first[1]), *(text.rjust(width) for text, width in others))) + " |"


@dataclass(frozen=True)
class Aim:
    """A sentence about what was wanted, and the two numbers that tell whether it is so; C(more) is better, or less."""

    text: str
    measured: float
    bound: float
    unit: str
    more: bool = False

    def __str__(self) -> str:
        met = self.measured >= self.bound if self.more else self.measured <= self.bound
        verdict = "met" if met else "missed"
        return f"- {self.text}: {self.measured:.3g} {self.unit}, aim {self.bound:.3g} {self.unit}: **{verdict}**."


def section(table: Table, aims: Sequence[Aim], how: str) -> str:
    """A table with what was aimed at, and how it was measured."""
    return "\n\n".join((str(table), *(("\n".join(map(str, aims)),) if aims else ()), how))


def page(old: str, intro: str, sections: Sequence[str]) -> str:
    """The old page with these sections in the place of those with their headings, new ones at its end."""
    kept = {one.partition("\n")[0]: one for one in map(str.strip, re.split(r"^(?=## )", old, flags=re.M)[1:])}
    measured = {one.partition("\n")[0]: one for one in sections}
    return "\n\n".join((intro, *(kept | measured).values())) + "\n"


def seconds(value: float) -> str:
    return f"{value:.2f}"


def requests(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {verb}" for verb, count in sorted(counted.items()) if count) or "0"
