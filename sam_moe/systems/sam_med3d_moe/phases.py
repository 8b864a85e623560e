"""What learns when: the general model, then each expert on the frozen rest, then the gate alone."""

from collections.abc import Sequence

from sam_moe.hosts.sam3d.heads import UNASKED
from sam_moe.moe.experts import key_of
from sam_moe.moe.system import Phase


def phases_of(experts: Sequence[str]) -> tuple[Phase, ...]:
    """The phases of training (arXiv 2407.04938), in their order; `experts` are ids, the general one first.

    In `pretrain` the general model learns; in `finetune <id>` one expert, which alone answers; in
    `train-gate` the gate, over the answers of all. What no training asks stays: the IoU's head, the heads of
    masks 1 to 3, the embedding for want of a mask. Low-rank deltas learn outside the expert and are merged
    into it.
    """
    return (
        Phase(
            "pretrain",
            ("backbone.*",),
            rule="forced:index=0",
            keeps=("backbone.prompt_encoder.no_mask_embed.*", *_heads("backbone.mask_decoder")),
        ),
        *(
            Phase(f"finetune {id}", (f"{expert}.*",), rule=f"forced:index={n}", keeps=_heads(expert))
            for n, id in enumerate(experts[1:], start=1)
            for expert in (f"experts.{key_of(id)}",)
        ),
        Phase("train-gate", ("gate.*",), rule="dense"),
    )


def _heads(decoder: str) -> tuple[str, ...]:
    """The heads of a decoder that no training asks, as patterns."""
    return tuple(f"{decoder}.{head}.*" for head in UNASKED)
