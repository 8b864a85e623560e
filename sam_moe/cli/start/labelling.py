"""The demonstration's second part: the same scans without a prompt, structure by structure."""

from pathlib import Path

from sam_moe.pictures.scene import Scene
from sam_moe.predict.automatic.model import AutomaticModel
from sam_moe.predict.automatic.result import Segmentation
from sam_moe.progress import Progress
from sam_moe.prompts.prompt import Prompt
from sam_moe.space.volume import Volume


def labelled(
    model: AutomaticModel, scan: Path, truth: Volume, names: dict[str, int], progress: Progress
) -> tuple[Segmentation, Scene, str]:
    """Segment a scan without a prompt: the labels, their picture, and lines with each structure's Dice.

    Args:
        model: segments.
        scan: the file.
        truth: the scan's labels.
        names: what their values are called; structures that these do not name are not compared.
        progress: called with the stage and its share.
    """
    session = model.open(scan, progress=progress)
    found = session.segment()
    lines = [f"  without a prompt: {found.likeness} · {found.model_id} · {found.latency_ms:.0f} ms"]
    for value, name in found.names.items():
        mask, known = found.labels == value, names.get(name)
        text = f"  {name}: {found.volumes_ml[name]:.1f} ml"
        if known is not None and bool((true := truth.array == known).any()):
            both = int((mask & true).sum())
            text += f" · Dice {2 * both / max(1, int(mask.sum()) + int(true.sum())):.3f}"
        lines.append(text + ("" if found.voxels[name] else " · not found"))
    masks = {name: (found.labels == value).float() for value, name in found.names.items()}
    shown = {name: mask for name, mask in masks.items() if mask.any()}
    title = f"without a prompt · {found.likeness} · {found.model_id}"
    return found, Scene(session.scan, shown, Prompt(), title), "\n".join(lines)
