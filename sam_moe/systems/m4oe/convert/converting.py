"""A checkpoint of M4oE's or Swin-MAE's public code becomes an automatic model's weights with their card."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from sam_moe.errors import ConfigError, WeightsError
from sam_moe.files import check_writable, sha256_of
from sam_moe.registry import CARD, AutomaticCard, Weights, write_card
from sam_moe.registry.finding import user_folder
from sam_moe.registry.reading import weights_named_in
from sam_moe.systems.m4oe.convert.drafting import draft_card, heads_of, read_draft_of
from sam_moe.systems.m4oe.convert.names import (
    COMPUTED,
    TITLES,
    Origin,
    check_computed,
    left_out,
    origin_of,
    plain,
    source_of,
)
from sam_moe.systems.m4oe.convert.shapes import count_experts, read_swin_sizes
from sam_moe.systems.m4oe.load import module_of
from sam_moe.training.engine.seeds import seeded
from sam_moe.weights.files import read_state
from sam_moe.weights.placing import CardFile, Stored, id_of, place
from sam_moe.weights.report import KeyReport, compare


@dataclass(frozen=True)
class Wanted:
    """What a conversion is asked beside the checkpoint.

    Args:
        model_id: by default made of the file's name.
        draft: a file with any fields of the card, such as the names of sets and labels.
        image_size: of the pictures that it was trained on, where no tensor shows it.
        heads: classes of each data set, background included, for a checkpoint without heads.
        force: replace what is there.
    """

    model_id: str | None = None
    draft: Path | None = None
    image_size: int | None = None
    heads: tuple[int, ...] | None = None
    force: bool = False


@dataclass(frozen=True)
class AutomaticConversion:
    """What was made of a checkpoint.

    Args:
        card: as written.
        path: of the card.
        origin: the code that the checkpoint is from.
        parameters: numbers in the written weights.
        report: of the checkpoint's tensors that have a place, by its own names.
        dropped: its tensors that have none.
        fresh: tensors of the host that it has nothing for, with initial weights. Gates are not among them:
            each begins undecided, and where channels are gated or data sets known it stays unused.
    """

    card: AutomaticCard
    path: Path
    origin: Origin
    parameters: int
    report: KeyReport
    dropped: tuple[str, ...]
    fresh: tuple[str, ...]

    @property
    def use(self) -> str:
        """The command that uses it, with {} for its name."""
        if self.origin == "swin-mae":
            return "start: {} in a recipe of `sam-moe train`; it answers nothing before it is trained"
        which = f" --as {self.card.sets[0].id}" if len(self.card.sets) > 1 else ""
        return f"sam-moe segment SCAN --model {{}}{which} --out LABELS"

    def __str__(self) -> str:
        sizes = self.card.architecture
        experts = len(self.card.mixture.experts)
        lines = [
            f"{self.card.id}: {TITLES[self.origin]}: {self.report}; {experts} experts, heads of "
            f"{', '.join(map(str, sizes.classes))} classes, pictures of {sizes.image_size} pixels; "
            f"{self.parameters:,} numbers, {self.card.weights.size_bytes / 1e6:.1f} MB; {self.path}"
        ]
        others = [name for name in self.dropped if not name.endswith(COMPUTED)]
        if computed := len(self.dropped) - len(others):
            lines.append(f"  computed anew: {computed} masks and indices of positions")
        if others:
            lines.append(f"  left out: {', '.join(others)}")
        if self.fresh:
            modules = dict.fromkeys(name.removeprefix("host.").rpartition(".")[0] for name in self.fresh)
            lines.append(f"  new, untrained: {', '.join(modules)}")
        return "\n".join(lines)


def convert_public(
    source: Path | str, folder: Path | str | None = None, wanted: Wanted = Wanted()
) -> AutomaticConversion:
    """Write `<folder>/<id>/` with a public checkpoint's tensors under our names, and a card.

    Read are plain tensors and dicts with `model`, with the prefixes `swin_unet.` and `module.`. Stored masks
    and indices of positions are compared with ours and left out. Swin-MAE's feed-forward part goes to every
    expert (the public loader leaves it out in silence); what it lacks gets initial weights of one seed. Equal
    files give equal bytes.

    Raises:
        WeightsError: for a file that is not of this code, or does not fit, with the report of what is
            missing, too much or of another shape.
        CardError: for a draft that does not fit.
        ConfigError: for a checkpoint without heads where none were given, and for one with heads where some
            were.
        FileError: where something is already there, or cannot be written.
    """
    source = Path(source)
    folder = user_folder() if folder is None else Path(folder)
    check_writable(folder)
    state = plain(read_state(source))
    origin = origin_of(state)
    if origin is None:
        raise WeightsError(f"{source}: is neither of M4oE's public code nor of Swin-MAE's.")
    draft = read_draft_of(wanted.draft)
    if origin == "swin-mae":
        heads = heads_of(draft, wanted.heads, str(source))
    elif wanted.heads:
        raise ConfigError(f"{source}: has heads of its own. Leave --heads out.")
    else:
        heads = None
    sizes = read_swin_sizes(state, origin, str(source), wanted.image_size, heads)
    experts = len(sizes.classes) if origin == "swin-mae" else count_experts(state)
    id = wanted.model_id or id_of(source)
    card = draft_card(draft, id, source, sizes, experts, origin)
    tensors, report, dropped, fresh = _translated(state, card, origin, str(source))
    stored = place(
        tensors,
        folder / id,
        CardFile(CARD, lambda stored, path: write_card(_naming(card, stored), path), weights_named_in),
        {"source_sha256": sha256_of(source, WeightsError)},
        wanted.force,
    )
    parameters = sum(tensor.numel() for tensor in tensors.values())
    return AutomaticConversion(
        _naming(card, stored), folder / id / CARD, origin, parameters, report, dropped, fresh
    )


def _translated(
    state: Mapping[str, Tensor], card: AutomaticCard, origin: Origin, where: str
) -> tuple[dict[str, Tensor], KeyReport, tuple[str, ...], tuple[str, ...]]:
    """The tensors under our names; the report of those with a place; what was left out; what is new."""
    with torch.device("meta"):  # shapes alone: a file decides how large they are
        shapes = module_of(card).state_dict()
    sources = {name: source_of(name, card.mixture.experts, origin) for name in shapes}
    expected = {source: shapes[name] for name, source in sources.items() if source is not None}
    dropped = tuple(name for name in state if left_out(name, origin))
    report = compare({name: state[name] for name in state if name not in dropped}, expected)
    if not report.ok:
        raise WeightsError(f"{where}: was taken for {TITLES[origin]}, and does not fit it: {report}")
    with seeded(0):
        module = module_of(card)
    check_computed(state, _computed(module, origin), where)
    own = module.state_dict()
    tensors = {
        name: own[name] if source is None else state[source].to(torch.float32)
        for name, source in sources.items()
    }
    fresh = tuple(name for name, source in sources.items() if source is None and ".site.gate." not in name)
    return tensors, report, dropped, fresh


def _computed(module: torch.nn.Module, origin: Origin) -> dict[str, Tensor]:
    """Our masks and indices by the checkpoint's names; none of Swin-MAE's, which shifts other blocks."""
    if origin == "swin-mae":
        return {}
    found = {}
    for name, tensor in module.named_buffers():
        block, _, kind = name.removeprefix("host.").rpartition(".attn.")
        found[f"{block}.attn_mask" if kind == "attn_mask" else f"{block}.attn.{kind}"] = tensor
    return found


def _naming(card: AutomaticCard, stored: Stored) -> AutomaticCard:
    return card.model_copy(update={"weights": Weights(**asdict(stored), dtype="float32")})
