"""Cells of tables for people's spreadsheets, which take what begins with = + - @ for a formula and run it."""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")  # the last four are their wide forms
_SHIELDED = re.compile(r"'+[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def shielded(text: str) -> str:
    """Text as a cell that no spreadsheet computes: an apostrophe goes before what begins like a formula.

    OWASP's advice on CSV injection. `unshielded` gives the text back, whatever it is.

    >>> shielded("=cmd|' /C calc'!A0"), shielded("liver")
    ("'=cmd|' /C calc'!A0", 'liver')
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unshielded(cell: str) -> str:
    """The text of a cell that `shielded` made.

    >>> unshielded("'=1+1"), unshielded("'quoted'")
    ('=1+1', "'quoted'")
    """
    return cell[1:] if _SHIELDED.match(cell) else cell
