"""A folder with weights and the card that names them, whole for whoever reads it, whenever this is killed."""

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os.path import lexists
from pathlib import Path

import torch
from torch import Tensor

from sam_moe.errors import FileError, WeightsError
from sam_moe.files import check_writable, make_folder, new_folder, replacing, sha256_of, sweep, withdraw
from sam_moe.weights.files import WEIGHTS, save_weights

# New weights, while the old ones still serve.
BESIDE = "model.new.safetensors"


@dataclass(frozen=True)
class Stored:
    """A file of weights as its card names it."""

    file: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class CardFile:
    """How the card beside weights is written and read; cards themselves are not known here.

    Args:
        name: of its file.
        write: writes the card that names these weights to a path, in one step.
        named: the file that a card at a path names; None without a card that can be read.
    """

    name: str
    write: Callable[[Stored, Path], None]
    named: Callable[[Path], str | None]


def place(
    state: Mapping[str, Tensor],
    target: Path,
    card: CardFile,
    metadata: Mapping[str, str],
    force: bool = False,
) -> Stored:
    """Write `target/model.safetensors` and its card; what is returned is the weights' file.

    A new model comes as a whole folder. Of one that takes another's place the weights come beside the old
    ones first, and the card, which names one of the two files, decides in one step which of them it is.

    Raises:
        FileError: where the target has a card or weights already and nothing forces this, or where it cannot
            be written; then everything is as before.
    """
    check_writable(target.parent)
    sweep(target.parent)
    _clear(target, card)
    taken = [name for name in (card.name, WEIGHTS) if (target / name).exists()]
    if taken and not force:
        raise FileError(f"{target}: already has {' and '.join(taken)}. Choose another id, or force it.")
    made = _make_folders(target.parent)
    try:
        return _write(state, target, card, metadata)
    except BaseException:
        for empty in made:
            if empty.is_dir() and not any(empty.iterdir()):
                empty.rmdir()
        raise


def id_of(source: Path) -> str:
    """An id made of a file's name.

    >>> id_of(Path("My Model (2).pth"))
    'my-model-2'
    """
    return re.sub(r"[^a-z0-9._-]+", "-", source.stem.lower()).strip("._-") or "converted"


def cast(state: Mapping[str, Tensor], dtype: str, source: Path) -> dict[str, Tensor]:
    """The tensors as numbers of another kind.

    Raises:
        WeightsError: where one is too large for it.
    """
    kind: torch.dtype = getattr(torch, dtype)
    cast = {name: tensor.to(kind) for name, tensor in state.items()}
    lost = [name for name, t in cast.items() if t.dtype != state[name].dtype and not t.isfinite().all()]
    if lost:
        raise WeightsError(
            f"{source}: {', '.join(lost[:5])} would overflow in {dtype}. Store bfloat16 or float32 instead."
        )
    return cast


def _write(state: Mapping[str, Tensor], target: Path, card: CardFile, metadata: Mapping[str, str]) -> Stored:
    def save(folder: Path, name: str) -> Stored:
        path = folder / name
        save_weights(state, path, metadata)
        return Stored(name, sha256_of(path, WeightsError), path.stat().st_size)

    if not lexists(target):
        with new_folder(target) as new:
            written = save(new, WEIGHTS)
            card.write(written, new / card.name)
        return written
    before = card.named(target / card.name)
    try:
        if before == WEIGHTS:
            beside = save(target, BESIDE)
            card.write(beside, target / card.name)
            with replacing(target / WEIGHTS) as again:
                _link(target / BESIDE, again)
            written = Stored(WEIGHTS, beside.sha256, beside.size_bytes)
        else:
            written = save(target, WEIGHTS)
        card.write(written, target / card.name)
    finally:
        _clear(target, card)
    return written


def _link(file: Path, again: Path) -> None:
    """The same file under a second name; a copy where the file system has no such links."""
    try:
        again.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, again)


def _clear(target: Path, card: CardFile) -> None:
    """Remove weights that a conversion, or one that was killed, left without a card that names them."""
    sweep(target)
    if (kept := card.named(target / card.name)) in (WEIGHTS, BESIDE):
        withdraw(target / (BESIDE if kept == WEIGHTS else WEIGHTS))


def _make_folders(target: Path) -> list[Path]:
    """Make a folder; returns what had to be made, innermost first."""
    made = [place for place in (target, *target.parents) if not place.exists()]
    make_folder(target)
    return made
