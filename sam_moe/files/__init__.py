"""Files in general: opened only where they are files, replaced in one step, cleared after the dead."""

from sam_moe.files.opening import (
    check_ordinary,
    in_words,
    open_file,
    read_bytes,
    sha256_of,
    shown,
    unreadable,
)
from sam_moe.files.replacing import (
    PREFIX,
    check_writable,
    make_folder,
    new_folder,
    replace_bytes,
    replace_text,
    replacing,
    sweep,
    unwritable,
    withdraw,
)

__all__ = [
    "PREFIX",
    "check_ordinary",
    "check_writable",
    "in_words",
    "make_folder",
    "new_folder",
    "open_file",
    "read_bytes",
    "replace_bytes",
    "replace_text",
    "replacing",
    "sha256_of",
    "shown",
    "sweep",
    "unreadable",
    "unwritable",
    "withdraw",
]
