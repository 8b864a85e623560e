"""An automatic model's card as a person reads it: the network, its experts, its data sets."""

from sam_moe.cli.models.card_text import credits, facts, in_words, measured, wrapped
from sam_moe.cli.models.model_list import Checkpoint
from sam_moe.registry import AutomaticCard, DataSet, ExpertMixture, Label

_SCORES = {
    "expert": "a gate's softmax over experts",
    "channel": "a softmax over channels",
    "forced": "the data set's own expert alone",
    "uniform": "all experts alike",
}
_POOLING = {"token": "each token", "slice": "each slice", "volume": "each scan"}


def page(card: AutomaticCard, item: Checkpoint) -> str:
    """A card as a person reads it, a paragraph a data set."""
    known = {
        "weights": f"{item.state}, {item.size}, {card.weights.dtype}",
        "sha256": card.weights.sha256,
        "system": card.system,
        "architecture": in_words(card.architecture.model_dump()),
        "experts": ", ".join(card.mixture.experts),
        "weighed by": _weighing(card.mixture),
        "licence": card.licence,
        "made by": card.made_by.command if card.made_by else None,
        "data": ", ".join(card.made_by.data) if card.made_by and card.made_by.data else None,
        "not for": card.not_for,
        "card": str(item.entry.path),
    }
    lines = [f"{card.id}: {card.title}", *wrapped(card.description), "", *facts(known), ""]
    for each in card.sets:
        lines += facts({"set": _described(each), "labels": ", ".join(map(_label, each.labels))})
    return "\n".join([*lines, "", *credits(card.attribution), *measured(card.measured)]).rstrip()


def _weighing(mixture: ExpertMixture) -> str:
    gated = mixture.scores in ("expert", "channel")
    words = [_SCORES[mixture.scores] + (f", for {_POOLING[mixture.pooling]}" if gated else "")]
    if mixture.ungated:
        places = "place has" if mixture.ungated == 1 else f"{mixture.ungated} places have"
        words.append(f"the first {places} one part for all")
    return "; ".join(words)


def _described(each: DataSet) -> str:
    x, y, z = (f"{length:g}" for length in each.spacing_mm)
    numbers = (
        f"numbers from {each.intensity.low:g} to {each.intensity.high:g}"
        if each.intensity.kind == "window"
        else "numbers by mean and deviation of the voxels above the mean"
    )
    far = "" if each.far is None else f"; unlike it beyond a distance of {each.far:g}"
    return (
        f"{each.id}: {each.title}; {each.modality}, expert {each.expert}; pixels of {x} x {y} mm, slices "
        f"of {z} mm; {numbers}{far}"
    )


def _label(label: Label) -> str:
    words = ["largest part"] if label.parts == "largest" else []
    words += ["refined by a box"] if label.refine == "box" else []
    return f"{label.name} ({', '.join(words)})" if words else label.name
