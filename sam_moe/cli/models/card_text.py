"""The lines of a card as a person reads it: facts in columns, credits, figures."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from sam_moe.registry import Attribution, Measurement

_WIDTH = 100


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines, each column as wide as its widest cell, the last one as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    )


def facts(known: Mapping[str, str | None]) -> list[str]:
    """Names in one column, their values in another."""
    return [
        line for name, value in known.items() if value is not None for line in wrapped(value, f"{name:<15}")
    ]


def wrapped(text: str, before: str = "") -> list[str]:
    """A text in lines of one width, set in by what stands before it."""
    indent = " " * len(before)
    return textwrap.wrap(
        text, _WIDTH, initial_indent=before, subsequent_indent=indent, break_long_words=False
    )


def credits(attribution: Sequence[Attribution]) -> list[str]:
    """The sources that a card credits, with their licences."""
    texts = (f"{credit.source} ({credit.licence}). {credit.note}" for credit in attribution)
    return [line for text in texts for line in wrapped(text, f"{'after':<15}")]


def measured(rows: Sequence[Measurement]) -> list[str]:
    """The figures that a card names, each with its data, cases and protocol."""
    lines = []
    for row in rows:
        cases = f", {row.cases} cases" if row.cases else ""
        protocol = f" ({row.protocol})" if row.protocol else ""
        text = f"{row.metric} {row.value:.4g} on {row.data}{cases}{protocol}"
        lines += wrapped(text, f"{'measured':<15}")
    return lines


def in_words(values: dict[str, Any]) -> str:
    """Fields in one line; those that are None are left out."""
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)
