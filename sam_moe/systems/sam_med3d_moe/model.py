"""SAM-Med3D-MoE: one frozen SAM-Med3D, finetuned mask decoders, and a gate that chooses among them."""

from collections.abc import Iterator, Mapping
from copy import copy
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from sam_moe.errors import ConfigError
from sam_moe.hosts.sam3d.model import SamMed3D
from sam_moe.hosts.sam3d.network.mask_decoder import MaskDecoder
from sam_moe.hosts.sam3d.network.prompt_encoder import PromptTokens
from sam_moe.hosts.sam3d.sizes import Sizes
from sam_moe.moe.bank import ExpertBank
from sam_moe.moe.fusion import check_fusion
from sam_moe.moe.gate import Gate
from sam_moe.moe.names import Fusion
from sam_moe.moe.routing import Routing
from sam_moe.moe.rules.threshold import Threshold
from sam_moe.moe.selection import SelectionRule
from sam_moe.moe.site import MoESite, SiteKind
from sam_moe.moe.system import Phase
from sam_moe.shapes import Float, Int
from sam_moe.systems.sam_med3d_moe.gate import gate_input
from sam_moe.systems.sam_med3d_moe.phases import phases_of


class PromptInputs(NamedTuple):
    """Prompts as the prompt encoder takes them; see `PromptEncoder.forward`."""

    points: Float[Tensor, "b n 3"] | None
    labels: Int[Tensor, "b n"] | None
    boxes: Float[Tensor, "b 2 3"] | None
    mask: Float[Tensor, "b 1 l l l"] | None

    def of(self, rows: Int[Tensor, " r"]) -> "PromptInputs":
        """The prompts in these rows of the batch."""
        return PromptInputs(*(None if part is None else part[rows] for part in self))


class WholeExpert:
    """An expert with an encoder of its own: a whole SAM-Med3D for regions of the backbone's size (ours).

    It embeds a region when it is first chosen there, and keeps that as long as the backbone's own embedding
    of the region lives. Threads can share it; they embed one after the other.
    """

    def __init__(self, model: SamMed3D) -> None:
        self.model = model.eval().requires_grad_(False)
        self._kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._embedding = Lock()

    def answer(
        self,
        embedding: Tensor,
        image: Float[Tensor, "b 1 s s s"],
        prompt: PromptInputs,
        rows: Int[Tensor, " r"],
    ) -> Float[Tensor, "r l l l"]:
        """Logits of these rows of a batch, as fine as this model gives them.

        `embedding` is the backbone's, by which regions seen before are known.
        """
        wanted: list[int] = rows.tolist()
        with self._embedding:
            self.model.to(image.device)
            kept: dict[int, Tensor] = self._kept.setdefault(embedding, {})
            if new := [row for row in wanted if row not in kept]:
                kept.update(zip(new, self.model.encode(image[new]), strict=True))
            own = torch.stack([kept[row] for row in wanted])
        points, labels, boxes, mask = prompt.of(rows)
        low = self.model.sizes.low_res
        if mask is not None and mask.shape[-1] != low:
            mask = F.interpolate(mask, size=(low,) * 3, mode="trilinear")
        tokens = self.model.encode_prompt(points, labels, boxes, mask)
        return self.model.decode(own, tokens)[:, 0]


Expert = MaskDecoder | WholeExpert

# The name of the site: the place of the mask decoder.
SITE = "mask_decoder"


class _Remembered:
    """What embeddings and tokens were made of: by identity, and only as long as these live."""

    def __init__(self) -> None:
        self.images: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.prompts: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.lock = Lock()


class PromptBatch(NamedTuple):
    """Normalised regions and a prompt for each."""

    image: Float[Tensor, "b 1 s s s"]
    prompt: PromptInputs


class _Decoders(Mapping[str, nn.Module]):
    """The networks of a bank's experts, made when looked up."""

    def __init__(self, bank: ExpertBank[MaskDecoder] | ExpertBank[Expert]) -> None:
        self.bank = bank

    def __getitem__(self, id: str) -> nn.Module:
        if id not in self.bank.ids:
            raise KeyError(id)
        decoder = self.bank.decoder(self.bank.ids.index(id))
        return decoder.model if isinstance(decoder, WholeExpert) else decoder

    def __iter__(self) -> Iterator[str]:
        return iter(self.bank.ids)

    def __len__(self) -> int:
        return len(self.bank.ids)


class SamMed3DMoE(nn.Module):
    """The mixture (arXiv 2407.04938): answers as SAM-Med3D does; `decode_routed` returns who did.

    Regions and prompts are embedded once by the backbone, whatever the number of experts; expert 0 is its
    own decoder, so that wherever it alone is chosen the logits are plain SAM-Med3D's to the bit. Only the
    gate is left to train: the backbone is frozen here, decoders by whoever makes them. `choosing` is the same
    mixture with another selection or fusion. Decoding leaves nothing behind, so that threads can share one.
    The paper fuses by a threshold; the rest of the defaults are ours.

    `keep_images` is for banks with a `WholeExpert`: each region's image is kept as long as its embedding.
    """

    def __init__(
        self,
        backbone: SamMed3D,
        bank: ExpertBank[MaskDecoder] | ExpertBank[Expert],
        gate: Gate,
        selection: SelectionRule | None = None,
        fusion: Fusion = "logits",
        keep_images: bool = False,
    ) -> None:
        super().__init__()
        if bank.general is not backbone.mask_decoder:
            raise ConfigError(
                "the bank's general expert is another decoder than the backbone's. Give the bank "
                "`general=backbone.mask_decoder`: on it the mixture falls back."
            )
        if gate.experts != len(bank.ids):
            raise ConfigError(
                f"the gate has {gate.experts} columns, the bank {len(bank.ids)} experts: "
                f"{', '.join(bank.ids)}. Expected one column an expert, in the same order."
            )
        self.backbone = backbone.eval().requires_grad_(False)
        self.bank, self.gate = bank, gate
        self._selection: SelectionRule = Threshold() if selection is None else selection
        self._fusion: Fusion = fusion
        check_fusion(self._selection, fusion)
        self._keep_images = keep_images
        self._remembered = _Remembered()
        self._moving = Lock()

    @property
    def selection(self) -> SelectionRule:
        """How experts are chosen by the gate's confidence."""
        return self._selection

    @property
    def fusion(self) -> Fusion:
        """How the answers of several experts become one."""
        return self._fusion

    @property
    def keep_images(self) -> bool:
        """Whether regions are kept for experts with their own encoder."""
        return self._keep_images

    def choosing(self, selection: SelectionRule, fusion: Fusion | None = None) -> "SamMed3DMoE":
        """The same mixture, weights shared, that selects or fuses in another way; this one stays as it is."""
        other = copy(self)
        other._selection = selection
        other._fusion = self._fusion if fusion is None else fusion
        check_fusion(selection, other._fusion)
        return other

    @property
    def sizes(self) -> Sizes:
        """The backbone's sizes."""
        return self.backbone.sizes

    def encode(
        self, image: Float[Tensor, "b 1 s s s"], dtype: torch.dtype | None = None
    ) -> Float[Tensor, "b c g g g"]:
        """Embed a normalised region with the frozen encoder."""
        embedding = self.backbone.encode(image, dtype)
        if self._keep_images:
            with self._remembered.lock:
                self._remembered.images[embedding] = image
        return embedding

    def encode_prompt(
        self,
        points: Float[Tensor, "b n 3"] | None,
        labels: Int[Tensor, "b n"] | None,
        boxes: Float[Tensor, "b 2 3"] | None,
        mask: Float[Tensor, "b 1 l l l"] | None,
    ) -> PromptTokens:
        """Embed prompts with the frozen prompt encoder."""
        tokens = self.backbone.encode_prompt(points, labels, boxes, mask)
        if self._keep_images:
            with self._remembered.lock:
                self._remembered.prompts[tokens.sparse] = PromptInputs(points, labels, boxes, mask)
        return tokens

    def choose(self, embedding: Float[Tensor, "b c g g g"], tokens: PromptTokens) -> Routing:
        """Who is to answer each prompt, by what the gate sees where the prompt points."""
        return self._site().route(gate_input(embedding, tokens.sparse, tokens.places))

    def decode(
        self, embedding: Float[Tensor, "b c g g g"], tokens: PromptTokens
    ) -> Float[Tensor, "b 1 l l l"]:
        """The logits of `decode_routed` alone, as a plain model gives them."""
        return self.decode_routed(embedding, tokens)[0]

    def decode_routed(
        self, embedding: Float[Tensor, "b c g g g"], tokens: PromptTokens, routing: Routing | None = None
    ) -> tuple[Float[Tensor, "b 1 l l l"], Routing]:
        """Run the chosen experts alone and fuse; return the logits and who gave them.

        They are chosen here, unless `routing` says who: so that one target keeps its experts on every region
        that shows a part of it.
        """
        routing = self.choose(embedding, tokens) if routing is None else routing
        dense_map = self.backbone.prompt_encoder.dense_map()

        def call(decoder: Expert, rows: Int[Tensor, " r"]) -> Tensor:
            if isinstance(decoder, WholeExpert):
                return self._ask_whole(decoder, embedding, tokens, rows)
            with self._moving:
                if decoder.iou_token.weight.device != embedding.device:
                    decoder.to(embedding.device)
            parts = (embedding, tokens.sparse, tokens.dense)
            image, sparse, dense = (p if len(rows) == len(p) else p[rows] for p in parts)
            logits: Tensor = decoder(image, dense_map, sparse, dense).logits[:, 0]
            return logits

        return self._site().answer(routing, call)[:, None], routing.detached()

    def _site(self) -> MoESite:
        """The mask decoder's place, with the experts in its stead."""
        return MoESite(self.bank, self.gate, self._selection, SiteKind("prompt", self._fusion))

    def _ask_whole(
        self, expert: WholeExpert, embedding: Tensor, tokens: PromptTokens, rows: Int[Tensor, " r"]
    ) -> Float[Tensor, "r l l l"]:
        with self._remembered.lock:
            image = self._remembered.images.get(embedding)
            prompt = self._remembered.prompts.get(tokens.sparse)
        if image is None or prompt is None:
            raise ConfigError(
                "an expert with its own encoder was chosen, and the region or the prompt was embedded by "
                "another model. Embed both with this mixture, made with keep_images=True."
            )
        logits = expert.answer(embedding, image, prompt, rows)
        low = self.sizes.low_res
        if logits.shape[-1] == low:
            return logits
        return F.interpolate(logits[:, None], size=(low,) * 3, mode="trilinear")[:, 0]

    def sites(self) -> dict[str, MoESite]:
        """The one place where experts answer."""
        return {SITE: self._site()}

    def experts(self) -> Mapping[str, nn.Module]:
        """The experts' decoders by id, the general one first; a whole expert's network."""
        return _Decoders(self.bank)

    def phases(self) -> tuple[Phase, ...]:
        """The general model, then each expert, then the gate; every phase leaves the others as they are."""
        return phases_of(self.bank.ids)

    def forward(self, batch: PromptBatch) -> tuple[Float[Tensor, "b 1 l l l"], dict[str, Routing]]:
        """The logits of a batch of regions with a prompt each, and how these were routed."""
        tokens = self.encode_prompt(*batch.prompt)
        logits, routing = self.decode_routed(self.encode(batch.image), tokens)
        return logits, {SITE: routing}
