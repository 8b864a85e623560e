"""What learns when in M4oE."""

from sam_moe.moe.experts import key_of
from sam_moe.moe.system import Phase
from sam_moe.registry import ExpertMixture

MASKED = "masked-"
_GATE = "*.site.gate.*"


def phases_of(mixture: ExpertMixture) -> tuple[Phase, ...]:
    """The phases of a mixture, in their order.

    "trunk": the host, its heads and the experts, each row answered by the expert of its data set, so that the
    experts part from each other before any gate weighs them. "masked-<expert>": that expert alone, on masked
    images of its modality, the paper's pretraining (optional). "gate": the gates alone, on features of the
    known experts, by the cross-entropy of the domain, where they score experts. "together": everything.

    The paper begins with the masked images, each expert in a network of its own, and puts a fresh gate on
    them; that order destroys what experts have learnt (`benchmarks/LOG.md`), so here the gate comes last.
    """
    if len(mixture.experts) == 1:
        return (Phase("trunk", ("host.*",)),)
    scored = mixture.scores == "expert"
    return (
        Phase("trunk", ("host.*",), keeps=(_GATE,)),
        *(Phase(f"{MASKED}{id}", (f"*.site.experts.{key_of(id)}.*",)) for id in mixture.experts),
        *((Phase("gate", (_GATE,)),) if scored else ()),
        Phase("together", ("host.*",), keeps=() if scored else (_GATE,)),
    )
