"""What choosing and fusing add to a click: mixtures of many experts against the plain model under them.

    python -m benchmarks.mixture.overhead [--model ID] [--rounds N] [--threads N]

Experts are the model's own decoder with a little noise, written as folders of cards; each mixture is loaded
by its gate's card as any other. Measured is a further click on a scan that is open: the region is embedded
already, so that nothing hides the cost. `decode` is the model's own part (gate, experts, fusion), `click` all
that the user waits for; it is taken back, untimed, before the next. Every round asks each model once, one
after the other, in an order that changes; ratios are of two times of one round; the median is reported.
The last line is one JSON object.
"""

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.speed.encoder import hardware, timed
from sam_moe.assemble.load import load
from sam_moe.files import sha256_of
from sam_moe.moe.rules.forced import Forced
from sam_moe.moe.rules.top_k import TopK
from sam_moe.moe.selection import SelectionRule
from sam_moe.predict.parts import ModelParts
from sam_moe.predict.predictor import Predictor
from sam_moe.processes import use_threads
from sam_moe.prompts.prompt import Point
from sam_moe.registry import BackboneCard, Entry, ExpertCard, GateCard, shipped, write_card
from sam_moe.registry.finding import DEFAULT_MODEL, find_backbone
from sam_moe.systems.sam_med3d_moe.cards.backbone import load_backbone
from sam_moe.systems.sam_med3d_moe.cards.experts import add_expert
from sam_moe.systems.sam_med3d_moe.gate import gating_network
from sam_moe.systems.sam_med3d_moe.model import SamMed3DMoE
from sam_moe.weights.checksums import fingerprint
from sam_moe.weights.files import save_weights

EXPERTS = (4, 16, 64)
CHOSEN = (1, 2, 4)
WIDE = 16  # the mixture in which several are chosen
HIDDEN = 64
BAR = 1.05  # a whole click at k = 1
SCAN = shipped("demo") / "ct" / "scan.nii.gz"


class Run(NamedTuple):
    """What is timed, and what must be done before each time."""

    run: Callable[[], object]
    before: Callable[[], object] = lambda: None


def make_experts(folder: Path, base: Entry[BackboneCard], count: int) -> list[Entry[ExpertCard]]:
    """Decoders a little beside the base's, as real folders of cards."""
    model = load_backbone(base)
    rng = torch.Generator().manual_seed(0)
    made = []
    for number in range(count):
        state = {
            name: tensor * (1 + 0.01 * torch.randn(tensor.shape, generator=rng))
            for name, tensor in model.mask_decoder.state_dict().items()
        }
        source, card = folder / "decoder.safetensors", folder / "draft.json"
        save_weights(state, source)
        draft = {
            "id": f"expert-{number:02d}",
            "title": "The base's decoder with noise",
            "base": {"id": base.card.id},
            "covers": [{"structure": "nothing", "modality": "none"}],
            "licence": base.card.licence,
            "not_for": "Anything but this benchmark.",
        }
        card.write_text(json.dumps(draft), encoding="utf-8")
        made.append(add_expert(source, card, folder / "cards", model))
    return made


def make_gate(folder: Path, base: Entry[BackboneCard], experts: list[Entry[ExpertCard]]) -> Path:
    """A gate with random weights over these experts; returns its folder."""
    model = load_backbone(base)
    torch.manual_seed(len(experts))
    features, columns = model.sizes.out_channels, 1 + len(experts)
    gate = gating_network(features, columns, HIDDEN)
    for column in gate.columns.parameters():
        torch.nn.init.normal_(column, std=0.1)
    place = folder / "cards" / f"gate-{len(experts)}"
    place.mkdir()
    path = place / "model.safetensors"
    save_weights(gate.state_dict(), path)
    sha256 = fingerprint(model)
    card = GateCard.model_validate(
        {
            "id": place.name,
            "title": "A gate that knows nothing",
            "base": {"id": base.card.id, "sha256": sha256},
            "experts": [
                {"id": base.card.id, "sha256": sha256},
                *({"id": expert.card.id, "sha256": expert.card.weights.sha256} for expert in experts),
            ],
            "architecture": {"features": features, "hidden": HIDDEN, "columns": columns},
            "threshold": 0.0,  # always an expert, never the base
            "weights": {
                "file": path.name,
                "sha256": sha256_of(path),
                "size_bytes": path.stat().st_size,
                "dtype": "float32",
            },
            "licence": base.card.licence,
        }
    )
    write_card(card, place / "card.json")
    return place


def mixture_of(model: ModelParts) -> SamMed3DMoE:
    """The mixture that a model answers by."""
    mixture = model.network.module
    assert isinstance(mixture, SamMed3DMoE)
    return mixture


def opened(path: str | Path, rule: SelectionRule | None = None) -> Predictor:
    """A session with one region embedded and a first click answered; under a rule, if one is given."""
    # One region: how many are asked is the masks' doing, not the gate's
    model = replace(load(path, device="cpu"), whole_targets=False)
    if rule is not None:
        mixture = mixture_of(model)
        model = replace(model, network=replace(model.network, module=mixture.choosing(rule)))
    predictor = model.open(SCAN)
    predictor.predict(first_click(predictor))
    return predictor


def first_click(predictor: Predictor) -> Point:
    """The middle of the scan."""
    i, j, k = predictor.scan.grid.shape
    return Point((i // 2, j // 2, k // 2))


def click(predictor: Predictor) -> Run:
    """A correcting click, with the answer before fed back; taken back, untimed, before the next."""
    i, j, k = first_click(predictor).at
    further = Point((i + 2, j + 2, k), positive=False)

    def undo() -> None:
        if len(predictor.prompt) > 1:
            predictor.undo()

    return Run(lambda: predictor.refine(further), undo)


def decode(predictor: Predictor, rule: SelectionRule | None = None) -> Run:
    """The same question without what comes before and after the decoder; under a rule, if one is given."""
    model = predictor.model.network.module if rule is None else mixture_of(predictor.model).choosing(rule)
    sizes = model.sizes
    embedding = next(iter(predictor.cache._kept.values()))
    middle = sizes.image_size / 2
    with torch.no_grad():
        tokens = model.encode_prompt(
            torch.tensor([[[middle] * 3, [middle + 2, middle + 2, middle]]]),
            torch.tensor([[1, 0]]),
            None,
            torch.zeros(1, 1, *[sizes.low_res] * 3),
        )

    def run() -> object:
        with torch.no_grad():
            return model.decode(embedding, tokens)

    return Run(run)


def ratios(runs: Mapping[str, Run], rounds: int) -> dict[str, tuple[float, float]]:
    """Of each run the median milliseconds and the median ratio to the first within a round."""
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            runs[name].before()
            seconds[name].append(timed(runs[name].run))
    plain = seconds[names[0]]
    return {
        name: (1e3 * statistics.median(s), statistics.median(a / b for a, b in zip(s, plain, strict=True)))
        for name, s in seconds.items()
    }


def mixtures(folder: Path, base: Entry[BackboneCard]) -> dict[str, Predictor]:
    """The plain model first, then mixtures by the number of experts and of those chosen."""
    shutil.copytree(base.folder, folder / "cards" / base.card.id)
    experts = make_experts(folder, base, max(EXPERTS))
    gates = {count: make_gate(folder, base, experts[:count]) for count in EXPERTS}
    found = {"plain": opened(base.path)}
    for count in EXPERTS:
        found[f"E={count} k=1"] = opened(gates[count])
    for k in CHOSEN[1:]:
        found[f"E={WIDE} k={k}"] = opened(gates[WIDE], TopK(k))
    return found


def most_held(predictor: Predictor) -> tuple[int, int]:
    """How many decoders are held beside the base's after each expert was asked once, and how many may be."""
    model, most = mixture_of(predictor.model), 0
    for index in range(len(model.bank.ids)):
        decode(predictor, Forced(index)).run()
        most = max(most, len(model.bank.held) - 1)
    return most, model.bank.most


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help="id or folder of the plain model")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--threads", type=int, default=None, help="torch's own choice by default")
    asked = parser.parse_args()
    if asked.threads:
        use_threads(asked.threads)
    print(hardware(), flush=True)
    with tempfile.TemporaryDirectory() as aside:
        found = mixtures(Path(aside), find_backbone(asked.model))
        figures: dict[str, dict[str, float]] = {name: {} for name in found}
        for what, make in (("decode", decode), ("click", click)):
            runs = {name: make(predictor) for name, predictor in found.items()}
            ratios(runs, 3)  # warm
            for name, (ms, ratio) in ratios(runs, asked.rounds).items():
                figures[name] |= {f"{what}_ms": ms, f"{what}_ratio": ratio}
        held, most = most_held(found[f"E={max(EXPERTS)} k=1"])
    print(f"{'':<10}{'decode, ms':>12}{'to plain':>10}{'click, ms':>12}{'to plain':>10}")
    for name, row in figures.items():
        print(
            f"{name:<10}{row['decode_ms']:>12.2f}{row['decode_ratio']:>10.3f}"
            f"{row['click_ms']:>12.2f}{row['click_ratio']:>10.3f}"
        )
    added = max(figures[f"E={count} k=1"]["click_ratio"] for count in EXPERTS)
    print(f"at k = 1 at most {added - 1:.1%} added to a click (bar {BAR - 1:.0%})")
    print(f"{held} decoders held beside the base's where {most} may be")
    rounded = {name: {k: float(f"{v:.4g}") for k, v in row.items()} for name, row in figures.items()}
    print(json.dumps({"models": rounded, "most_held": held, "click_ratio_k1": float(f"{added:.4g}")}))


if __name__ == "__main__":
    main()
