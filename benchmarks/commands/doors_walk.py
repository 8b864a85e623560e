"""Every door at a model of the public shape: what `doors.py` measures and a test walks through, at two sizes.

`lay_out` makes a checkpoint as the public one is laid out (no corner embeddings, regions of 128 voxels of
1.5 mm, voxels above 0 normalised), of random weights, and recipes over the demonstration's two scans; `doors`
are the command lines, each on what those before it left. Nothing here measures quality: the weights are
random, and the same scans serve to learn and to validate.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import torch
import yaml
from torch import Tensor

from benchmarks.cases import ROOT
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.sizes import Sizes

DEMO = ROOT / "demo"
ID = "public-kin"
NEVER = "Anything but this walk: its weights are random."
# Which structure of the demonstration each expert is for, and on which kind of image.
EXPERTS = {
    "decoder": ("brainstem", "CT"),
    "lora": ("kidney_right", "MR"),
    "tuned": ("spleen", "MR"),
    "full": ("liver", "MR"),
    "adapter": ("parotid_left", "CT"),
}

# The part of each scan that is asked about. A region of 192 mm around any place in it holds all of it: so
# the answers of random weights, which reach everywhere, are neither widened nor refined.
PARTS = {
    "ct": (slice(42, 66), slice(24, 48), slice(66, 108)),
    "mr": (slice(110, 176), slice(58, 124), slice(4, 20)),
}


@dataclass(frozen=True)
class Scale:
    """How large the model is, and how much it is given to do."""

    sizes: Sizes
    regions: int
    validation: int
    steps: int
    batch: int
    grown: int


# The public layout with few and thin layers: for tests.
KIN = Scale(Sizes(128, 16, 96, 2, 4, 14, (1,), 48, 64, 8, 2, 32), 4, 2, 2, 2, 4)
# 324 tensors, 100,509,232 parameters.
PUBLIC = Scale(Sizes(), 8, 2, 3, 2, 8)


@dataclass(frozen=True)
class Door:
    """A command line, by the name under which it is reported, and what it makes.

    `refusal` is what it may say instead, where random weights can be too much alike for it.
    """

    name: str
    words: tuple[str, ...]
    made: Path
    refusal: str = ""


@dataclass(frozen=True)
class Place:
    """The folder of a walk."""

    root: Path
    scale: Scale

    @property
    def data(self) -> Path:
        """The demonstration's scans as a set to learn from."""
        return self.root / "data" / "demo"

    def run(self, name: str) -> Path:
        """The folder of a training."""
        return self.root / "runs" / name

    @property
    def environment(self) -> dict[str, str]:
        """Where converted models and experts go."""
        return {"SAM_MOE_CACHE": str(self.root / "cache")}


def lay_out(root: Path, scale: Scale) -> Place:
    """Write checkpoint, scans, splits, recipes and cards."""
    place = Place(root, scale)
    place.data.mkdir(parents=True)
    for name, part in PARTS.items():
        (place.data / name).mkdir()
        for file in ("scan.nii.gz", "label.nii.gz"):
            nib.save(nib.load(DEMO / name / file).slicer[part], place.data / name / file)
    shutil.copy(DEMO / "dataset.json", place.data)
    (root / "out").mkdir()
    both = ["abdomen_mr", "head_neck_ct"]
    splits = {"sets": {"demo": {"train": both, "validation": both, "test": []}}}
    (root / "splits.json").write_text(json.dumps(splits))
    challenge = {
        "name": "doors", "sets": [{"layout": "folders", "root": str(place.data)}],
        "labels": {"kidney_right": [], "brainstem": []}, "protocol": "click",
    }  # fmt: skip
    (root / "challenge.yaml").write_text(yaml.safe_dump(challenge))
    state = random_state(scale.sizes, 0)
    torch.save({"model_state_dict": state}, root / "public.pth")
    generator = torch.Generator().manual_seed(1)
    for name, part in (("tuned", "mask_decoder."), ("full", "image_encoder.")):
        changed = {
            key: tensor + 0.01 * torch.randn(tensor.shape, generator=generator)
            if key.startswith(part)
            else tensor
            for key, tensor in state.items()
        }
        # As a compiled model's state is saved.
        torch.save({f"_orig_mod.{key}": tensor for key, tensor in changed.items()}, root / f"{name}.pth")
    _write_adapter(root / "adapter", state, generator)
    for name, (structure, modality) in EXPERTS.items():
        covers = [{"structure": structure.replace("_", " "), "modality": modality}]
        card = {"base": {"id": ID}, "covers": covers, **_words(name)}
        (root / f"{name}.json").write_text(json.dumps(card))
    for name in ("decoder", "lora"):
        _write(root / f"{name}.yaml", _task(place, name))
    _write(root / "gate.yaml", _gate(place))
    _write(root / "onward.yaml", _onward(place))
    return place


def random_state(sizes: Sizes, seed: int) -> dict[str, Tensor]:
    """A model's tensors as torch begins them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SamMed3D(sizes).state_dict()


def doors(place: Place) -> Iterator[Door]:
    """The command lines in their order."""
    root, out = place.root, place.root / "out"
    ct, mr = (place.data / name / "scan.nii.gz" for name in ("ct", "mr"))
    cache = root / "cache" / "checkpoints"
    words: tuple[str, ...] = ("convert", f"{root}/public.pth", "--id", ID)
    yield Door("convert", words, cache / ID)

    def predict(name: str, scan: Path, *words: object, model: object = ID) -> Door:
        mask = out / f"{name.replace(' ', '-').replace(',', '')}.nii.gz"
        call = ("predict", scan, "--model", model, "--out", mask, *words)
        return Door(f"predict: {name}", tuple(map(str, call)), mask)

    point, box = ("--point", 18, 9, 35), ("--box", 14, 5, 21, 23, 13, 41)
    yield predict("a point", ct, *point)
    yield predict("a box", ct, *box)
    yield predict("a box by its middle", ct, *box, "--box-strategy", "center")
    yield predict("a box, then two clicks", ct, *box, *point, "--negative", 5, 16, 18)
    (root / "prompts.json").write_text(json.dumps(_two_targets()))
    yield predict("two targets", mr, "--prompts", root / "prompts.json")
    for name in ("decoder", "lora"):
        made = place.run(name)
        yield Door(f"finetune: {name}", ("finetune", f"{root}/{name}.yaml"), made)
    for name in ("decoder", "lora"):
        yield Door(f"experts add: {name}", ("experts", "add", str(place.run(name))), cache / name)
    for name, source in (("tuned", "tuned.pth"), ("full", "full.pth")):
        words = ("experts", "add", f"{root}/{source}", "--card", f"{root}/{name}.json")
        yield Door(f"experts add: {name}", words, cache / name)
    yield predict("an expert with its own encoder", mr, "--box", 6, 5, 0, 57, 46, 16, model="full")
    gate = place.run("gate")
    yield Door("train-gate", ("train-gate", f"{root}/gate.yaml"), gate)
    words = ("experts", "add", f"{root}/adapter", "--card", f"{root}/adapter.json")
    yield Door("experts add: an adapter of PEFT", words, cache / "adapter")
    words = ("experts", "add", "adapter", "--gate", str(gate), "--examples", str(place.data))
    more = ("--to", "grown", "--regions", str(place.scale.grown))
    yield Door("experts add: with a gate", (*words, *more), cache / "grown", "the gate cannot separate")
    yield Door("experts check", ("experts", "check"), cache)
    yield predict("the mixture", ct, *point, "--explain", model=gate)
    words = ("experts", "route", str(place.data), "--model", str(gate), "--out", str(out / "routes"))
    yield Door("experts route", (*words, "--first", "1"), out / "routes")
    words = ("evaluate", f"{root}/challenge.yaml", "--system", ID, "--system", str(gate))
    yield Door("evaluate", (*words, "--out", str(out / "challenge")), out / "challenge")
    yield Door("pretrain: going on", ("pretrain", f"{root}/onward.yaml"), place.run("onward"))
    yield predict("what went on", ct, *box, model=place.run("onward"))


def _words(name: str) -> dict[str, str]:
    return {"id": name, "title": f"{name} of a walk", "licence": "Apache-2.0", "not_for": NEVER}


def _write(path: Path, recipe: dict[str, object]) -> None:
    path.write_text(yaml.safe_dump(recipe))


def _scans(place: Place) -> dict[str, object]:
    return {"folder": str(place.root / "data"), "splits": str(place.root / "splits.json")}


def _schedule(scale: Scale, batch: int) -> dict[str, object]:
    return {"steps": scale.steps, "batch_size": batch, "warmup": 1, "save_every": scale.steps}


def _task(place: Place, name: str) -> dict[str, object]:
    """The recipe of an expert, a decoder or deltas on one."""
    scale, (structure, modality) = place.scale, EXPERTS[name]
    covers = [{"structure": structure.replace("_", " "), "modality": modality}]
    lora: dict[str, object] = {"kind": "lora", "lora": {"rank": 2, "alpha": 4}} if name == "lora" else {}
    return {
        **lora, "run": str(place.run(name)), "base": ID, "card": {"covers": covers, **_words(name)},
        "data": {**_scans(place), "structures": {structure: [structure]}},
        "schedule": _schedule(scale, scale.batch), "regions": scale.regions,
        "validation_regions": scale.validation, "validate_every": scale.steps,
    }  # fmt: skip


def _gate(place: Place) -> dict[str, object]:
    """The recipe of a gate over both."""
    scale, words = place.scale, _words("gate")
    experts = [{"expert": n, "structures": {EXPERTS[n][0]: [EXPERTS[n][0]]}} for n in ("decoder", "lora")]
    return {
        "run": str(place.run("gate")), "base": ID, "experts": experts, "hidden": 8, "turns": 2,
        "card": {key: words[key] for key in ("id", "title", "licence", "not_for")},
        "data": {
            **_scans(place), "train": scale.regions, "validation": scale.validation,
            "leave_out": [EXPERTS["adapter"][0]],  # else it is the general expert's, and stays with that
        },
        "schedule": {**_schedule(scale, 16), "steps": 20, "save_every": 20}, "validate_every": 10,
    }  # fmt: skip


def _onward(place: Place) -> dict[str, object]:
    """The recipe of a general model that goes on from the public one."""
    scale = place.scale
    return {
        "run": str(place.run("onward")), "start": ID, "card": _words("onward"), "data": _scans(place),
        "schedule": _schedule(scale, 1), "validation_crops": scale.validation, "store": "float32",
        "validate_every": scale.steps, "workers": 0,
    }  # fmt: skip


def _two_targets() -> dict[str, object]:
    """A prompt set of a kidney that is clicked and the liver, in a box."""
    click = {"kind": "point", "at": [39, 28, 5]}
    box = {"kind": "box", "start": [0, 0, 0], "stop": [40, 60, 16]}
    targets = [
        {"name": "right kidney", "label": 1, "items": [click]},
        {"name": "liver", "label": 2, "items": [box]},
    ]
    return {
        "format": 1, "name": "doors",
        "cases": [{"image": "data/demo/mr/scan.nii.gz", "space": "voxel", "targets": targets}],
    }  # fmt: skip


def _write_adapter(folder: Path, state: dict[str, Tensor], generator: torch.Generator) -> None:
    """A LoRA adapter on two layers of the decoder, as PEFT writes it."""
    folder.mkdir()
    halves: dict[str, Tensor] = {}
    for layer in _adapted(state):
        rows, columns = state[f"{layer}.weight"].shape
        name = f"base_model.model.{layer}.lora_"
        halves[f"{name}A.weight"] = torch.randn(4, columns, generator=generator) * columns**-0.5
        halves[f"{name}B.weight"] = torch.randn(rows, 4, generator=generator) * 0.1
    torch.save(halves, folder / "adapter_model.bin")
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def _adapted(state: dict[str, Tensor]) -> Sequence[str]:
    ends = ("q_proj.weight", "v_proj.weight")
    return [name.removesuffix(".weight") for name in state if name.endswith(ends)]
