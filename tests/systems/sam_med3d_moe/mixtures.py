"""Writes mixtures as folders of cards: a backbone's experts by seeded noise, and a gate over them."""

import json

import torch

from sam_moe.files import sha256_of
from sam_moe.hosts.sam3d.lora import add_lora, lora_state
from sam_moe.registry import GateCard, read_entry, write_card
from sam_moe.registry.finding import find_backbone
from sam_moe.systems.sam_med3d_moe.cards.backbone import load_backbone
from sam_moe.systems.sam_med3d_moe.cards.experts import add_expert
from sam_moe.systems.sam_med3d_moe.gate import gating_network
from sam_moe.weights.checksums import fingerprint
from sam_moe.weights.files import save_weights


def weights_record(path):
    return {
        "file": path.name,
        "sha256": sha256_of(path),
        "size_bytes": path.stat().st_size,
        "dtype": "float32",
    }


def write_expert(folder, id, base, kind="decoder", seed=0, noise=0.3, **changes):
    """An expert of each kind from the base by noise; a full one has another encoder too."""
    backbone = load_backbone(base)
    rng = torch.Generator().manual_seed(seed)

    def moved(tensor):
        return tensor + noise * tensor.std(correction=0) * torch.randn(tensor.shape, generator=rng)

    if kind == "lora":
        tuned = add_lora(backbone.mask_decoder, 2, 4.0)
        state = {name: torch.randn(t.shape, generator=rng) * 0.1 for name, t in lora_state(tuned).items()}
        changes |= {"expert_kind": "lora", "lora": {"rank": 2, "alpha": 4.0}}
    else:
        own = ("mask_decoder.", "image_encoder.") if kind == "full" else ("mask_decoder.",)
        whole = backbone.state_dict()
        state = {name: moved(t) if name.startswith(own) else t.clone() for name, t in whole.items()}
    source = folder.parent / f"{id}.safetensors"
    save_weights(state, source)
    draft = {
        "id": id,
        "title": id,
        "base": {"id": base.card.id},
        "covers": [{"structure": id, "modality": "CT"}],
        "licence": "CC-BY-4.0",
        "not_for": "Clinical use.",
    }
    (folder.parent / f"{id}.json").write_text(json.dumps(draft | changes))
    return add_expert(source, folder.parent / f"{id}.json", folder, backbone)


def write_gate(folder, id, base, experts, seed=1, **changes):
    """A gate with random columns, so that it has opinions."""
    backbone = load_backbone(base)
    rng = torch.Generator().manual_seed(seed)
    gate = gating_network(backbone.sizes.out_channels, 1 + len(experts), 8)
    state = {
        name: torch.randn(t.shape, generator=rng) * (1 if name.startswith("columns") else 0.2)
        for name, t in gate.state_dict().items()
    }
    path = folder / id / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_weights(state, path)
    sha256 = fingerprint(backbone)
    fields = {
        "id": id,
        "title": "A gate",
        "base": {"id": base.card.id, "sha256": sha256},
        "experts": [
            {"id": base.card.id, "sha256": sha256},
            *({"id": entry.card.id, "sha256": entry.card.weights.sha256} for entry in experts),
        ],
        "architecture": {
            "features": backbone.sizes.out_channels,
            "hidden": 8,
            "columns": 1 + len(experts),
        },
        "selection": "threshold",
        "threshold": 0.5,
        "weights": weights_record(path),
        "licence": "Apache-2.0",
    } | changes
    if fields["selection"] != "threshold":
        fields["threshold"] = None
    write_card(GateCard.model_validate(fields), path.parent / "card.json")
    return read_entry(path.parent / "card.json")


def write_mixture(folder, base_id, kinds=("decoder", "lora"), **changes):
    """Experts `first`, `second`, … of these kinds and the gate `gate` over them, all in one folder."""
    base = find_backbone(folder / base_id)
    names = ("first", "second", "third", "fourth")
    experts = [write_expert(folder, n, base, k, seed=i) for i, (n, k) in enumerate(zip(names, kinds))]  # noqa: B905
    return write_gate(folder, "gate", base, experts, **changes)
