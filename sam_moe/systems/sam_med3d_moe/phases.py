"""What learns when: the general model, then each expert on the frozen rest, then the gate alone."""

from collections.abc import Sequence

from sam_moe.moe.experts import key_of
from sam_moe.moe.system import Phase


def phases_of(experts: Sequence[str]) -> tuple[Phase, ...]:
    """The phases of training (arXiv 2407.04938), in their order; `experts` are ids, the general one first.

    In `pretrain` the general model learns; in `finetune <id>` one expert, which alone answers; in
    `train-gate` the gate, over the answers of all.
    """
    finetuned = enumerate(experts[1:], start=1)
    return (
        Phase("pretrain", ("backbone.*",), rule="forced:index=0"),
        *(
            Phase(f"finetune {id}", (f"experts.{key_of(id)}.*",), rule=f"forced:index={n}")
            for n, id in finetuned
        ),
        Phase("train-gate", ("gate.*",), rule="dense"),
    )
