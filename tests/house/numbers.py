"""Numbers that no rebuilding may move: `python -m tests.house.numbers` records them anew in numbers.json.

Demonstration: checksum and voxels of every mask, and the experts and confidences of `small-moe`.
Benchmarks: rows of `weights` and `reproduce` for one validation scan each. What they were measured on
stands beside them, as another processor rounds differently.
"""

import json
import platform
from hashlib import sha256
from pathlib import Path

import torch

import sam_moe
from sam_moe.cli.start.demonstration import demo_cases
from sam_moe.files import replace_text

RECORDED = Path(__file__).with_name("numbers.json")


def here() -> dict[str, str]:
    """What results depend on to the bit."""
    info = Path("/proc/cpuinfo")
    lines = [line.partition(":") for line in info.read_text().splitlines()] if info.is_file() else []
    kinds = ("model name", "cpu family", "model", "stepping")
    seen = {name.strip(): value.strip() for name, _, value in lines if name.strip() in kinds}
    return {
        "cpu": " / ".join(seen.get(kind, "") for kind in kinds) if seen else platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__.partition("+")[0],
    }


def of_demo() -> dict[str, dict]:
    """Every target and prompt of the demonstration, by the shipped plain model and the shipped mixture."""
    torch.set_num_threads(1)
    found = {}
    for model in ("small", "small-moe"):
        loaded = sam_moe.load(model, device="cpu")
        for folder, case in demo_cases().items():
            session = loaded.open(folder / case.scan)
            for target in case.targets:
                for how, item in target.prompts.items():
                    answer = session.predict(item)
                    mask = answer.mask.contiguous().numpy()
                    row = {"sha256": sha256(mask.tobytes()).hexdigest(), "voxels": int(mask.sum())}
                    if answer.answered is not None:
                        row["experts"] = dict(answer.answered.experts)
                        row["confidence"] = dict(answer.answered.confidence)
                    found[f"{model}/{folder.name}/{target.name}/{how}"] = row
    return found


def of_weights() -> dict[str, dict]:
    """Dice of each tool on two structures of a validation scan; needs the data folder and scikit-image."""
    from benchmarks.quality.tools import rows_of

    torch.set_num_threads(1)
    rows = rows_of(_scan("chaos_abdomen_mr"), sam_moe.load("small", device="cpu"))
    return {f"{row.target.label}/{row.tool}/{row.score.prompt}": {"dice": row.score.dice} for row in rows}


def of_reproduce() -> dict[str, dict]:
    """Dice and chosen experts of each system on a validation scan; needs the data folder."""
    from benchmarks.mixture.answers import answers_of
    from benchmarks.mixture.systems import load_systems

    torch.set_num_threads(1)
    found = {}
    for answer in answers_of(_scan("msd_hippocampus_mr"), load_systems("small-moe", "small")):
        row = {"dice": answer.dice, "experts": answer.experts, "confidence": answer.confidence}
        found[f"{answer.target.label}/{answer.system}/{answer.prompt}"] = row
    return found


def _scan(name: str) -> list:
    from benchmarks.quality.blocks import targets

    chosen = [target for target in targets("validation")[0] if target.set == name]
    return [target for target in chosen if target.case == chosen[0].case][:2]


MEASURED = {"demo": of_demo, "weights": of_weights, "reproduce": of_reproduce}


def main() -> None:
    """Record everything."""
    numbers = {"on": here()} | {name: measure() for name, measure in MEASURED.items()}
    replace_text(RECORDED, json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
