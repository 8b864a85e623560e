"""Files of weights: read without ever running what is in them, written in one step.

Its first bytes decide what a file is, never its suffix. A pickle is read by torch's restricted
unpickler alone, with one class added: `argparse.Namespace`, which the reference's trainer puts beside its
tensors. That unpickler is sound only from torch 2.10 on (CVE-2025-32434 until 2.6, CVE-2026-24747 until it).
"""

import argparse
import json
import os
import pickle
import re
import threading
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sam_moe.errors import WeightsError
from sam_moe.files import check_ordinary, open_file, replacing, unreadable

# The file of weights in the folder of a model, beside its card.
WEIGHTS = "model.safetensors"

_NEEDED_TORCH = "2.10"
_METADATA = "sam_moe"
_ALLOWED = threading.Lock()
_REFUSED = re.compile(r"GLOBAL ([\w.]+)")
# Where trainers keep tensors beside other things.
_INSIDE = ("model_state_dict", "state_dict", "model")
# Modules around a module; none of the model's own is called so.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}


def read_state(path: Path | str) -> dict[str, Tensor]:
    """Read the named tensors of a `.pth`, `.pt` or `.safetensors` file, on the CPU, as stored.

    Looks inside `model_state_dict`, `state_dict` or `model` where there is one, and takes off the names what
    wrappers put there, at any depth: `module.` of distributed training, `_orig_mod.` of `torch.compile` and
    those of FSDP and of activation checkpoints. The tensors may be mapped to the file: copy what must outlive
    it.

    Raises:
        WeightsError: for anything but a complete file of finite tensors, saying what it is instead.
    """
    path = Path(path)
    state = _read_safetensors(path) if _is_safetensors(path) else _unwrap(_read_pickle(path), path)
    if not state:
        raise WeightsError(f"{path}: holds no tensors. Give a checkpoint.")
    state = _unwrap_names(state, path)
    _check_numbers(state, path)
    return state


def save_weights(
    state: Mapping[str, Tensor], path: Path | str, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors in one step; equal tensors and metadata give equal bytes.

    Raises:
        FileError: where the file cannot be written; then nothing is left behind and an old file is untouched.
    """
    with replacing(path, (SafetensorError,)) as new:
        write_weights(state, new, metadata)


def write_weights(state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as `save_weights` does, into a new file inside `sam_moe.files.replacing`.

    Raises:
        OSError, SafetensorError: where the file cannot be written.
    """
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }
    # One key only: safetensors writes several in an order that changes from run to run.
    kept = {_METADATA: json.dumps(dict(metadata or {}), sort_keys=True)}
    save_file(tensors, path, metadata=kept)


def read_metadata(path: Path | str) -> dict[str, str]:
    """What `save_weights` wrote beside the tensors; empty for a safetensors file of another make."""
    try:
        check_ordinary(path, Path(path).stat(), WeightsError)
        with safe_open(path, framework="pt") as file:
            kept = (file.metadata() or {}).get(_METADATA, "{}")
        return dict(json.loads(kept))
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightsError(f"{path}: not readable as safetensors ({error}). Convert it again.") from error


def _is_safetensors(path: Path) -> bool:
    """Whether to read safetensors (True) or a pickle (False); raises for everything else."""
    with open_file(path, WeightsError) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            head = file.read(1024)
        except OSError as error:
            raise WeightsError(unreadable(path, error)) from error
    if not head:
        raise WeightsError(f"{path}: is empty. The download or copy did not finish; fetch it again.")
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path}: is a Git LFS pointer ({size} bytes), not the weights it stands for. Run `git lfs pull`."
        )
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        raise WeightsError(
            f"{path}: is a web page, not a checkpoint. Download the file itself; on the Hugging Face hub its "
            "address has /resolve/ where the page's has /blob/."
        )
    if head.startswith(b"PK\x03\x04"):
        if not zipfile.is_zipfile(path):
            raise WeightsError(
                f"{path}: is cut short: {size} bytes, and a checkpoint's end is missing. Fetch it again."
            )
        return False
    braced = len(head) > 8 and head[8:9] == b"{"
    # One safetensors file in 256 begins like a pickle: its header's length ends in the byte 0x80.
    if head[:1] == b"\x80" and not (braced and int.from_bytes(head[:8], "little") <= size):
        return False
    if braced:
        return True
    raise WeightsError(f"{path}: is neither a PyTorch checkpoint (.pth, .pt) nor safetensors. Give one.")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
        raise WeightsError(
            f"{path}: not readable as safetensors ({_first_line(error)}); perhaps cut short. Fetch it again."
        ) from error


def _read_pickle(path: Path) -> Any:
    if torch.__version__ < _NEEDED_TORCH:
        raise WeightsError(
            f"{path}: is a pickle, and torch {torch.__version__} can be made to run code by one. Install "
            "torch>=2.10, or use a .safetensors file."
        )
    # Handed a path, torch takes that suffix for a safetensors file; handed a file, it maps nothing.
    mapped = zipfile.is_zipfile(path) and path.suffix != ".safetensors"
    try:
        with _only_namespace(), path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on odd pickles: they are read or refused
            return torch.load(path if mapped else file, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if refused := _REFUSED.search(str(error)):
            raise WeightsError(
                f"{path}: the pickle asks for {refused[1]}, neither a tensor nor argparse.Namespace. "
                "Reading it could run code, so nothing was read. Ask for the tensors alone: "
                "torch.save({'model_state_dict': model.state_dict()}, file), or a .safetensors file."
            ) from error
        raise _unreadable(path, error) from error
    except Exception as error:  # a damaged pickle can raise whatever its bytes spell
        raise _unreadable(path, error) from error


@contextmanager
def _only_namespace() -> Iterator[None]:
    """Allow argparse.Namespace and nothing that anyone else in this process has declared safe."""
    with _ALLOWED:
        others = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        try:
            torch.serialization.add_safe_globals([argparse.Namespace])
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(others)


def _unwrap(found: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(found, dict):
        raise WeightsError(
            f"{path}: holds a {type(found).__name__}, not named tensors. Save `model.state_dict()`."
        )
    wrapper = next((key for key in _INSIDE if key in found), None)
    state = found if wrapper is None else found[wrapper]
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: {wrapper!r} holds a {type(state).__name__}, not named tensors.")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            keys = ", ".join(str(key) for key in list(found)[:8])
            raise WeightsError(
                f"{path}: {name!r} is a {type(tensor).__name__}, not a tensor. Expected named tensors, alone "
                f"or under {', '.join(map(repr, _INSIDE))}; the file's keys are {keys}."
            )
    return {name: tensor.detach() for name, tensor in state.items()}


def _unwrap_names(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors by the names that they have without wrappers."""
    plain: dict[str, Tensor] = {}
    for name, tensor in state.items():
        inner = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
        if inner in plain:
            raise WeightsError(
                f"{path}: {inner!r} is there twice, once within a wrapper such as torch.compile. Save the "
                "state of one of the two modules."
            )
        plain[inner] = tensor
    return plain


def _check_numbers(state: Mapping[str, Tensor], path: Path) -> None:
    bad = []
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise WeightsError(f"{path}: {name} is sparse, quantised or empty of data; save it dense.")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise WeightsError(
                f"{path}: {name} claims the shape {tuple(tensor.shape)} but the file holds fewer numbers. "
                "Save its .contiguous() form."
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            bad.append(name)
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise WeightsError(
            f"{path}: NaN or infinite numbers in {', '.join(bad[:5])}{more}. The training diverged "
            "or the file is damaged; take an earlier checkpoint or fetch it again."
        )


def _unreadable(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path}: not readable as a checkpoint ({_first_line(error)}). Fetch it again.")


def _first_line(error: Exception) -> str:
    text = str(error).rpartition("WeightsUnpickler error: ")[2].strip()
    return text.splitlines()[0][:200].rstrip(" .") if text else type(error).__name__
