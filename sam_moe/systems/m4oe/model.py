"""M4oE: a host whose feed-forward parts are sets of experts, with a head for each data set."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from sam_moe.hosts.conv_unet.network import ConvUNet
from sam_moe.hosts.conv_unet.sizes import ConvSizes
from sam_moe.hosts.swin_unet.network import SwinUNet
from sam_moe.moe.by_row import ByRow
from sam_moe.moe.routing import Routing
from sam_moe.moe.selection import SelectionRule
from sam_moe.moe.site import MoESite
from sam_moe.moe.system import Phase
from sam_moe.registry import ExpertMixture, HostSizes
from sam_moe.shapes import Float, Int
from sam_moe.systems.m4oe.phases import phases_of
from sam_moe.systems.m4oe.place import Asked, ExpertPlace, Shared


class Slices(NamedTuple):
    """A batch of slices with their neighbours.

    Args:
        images: the slice below, the slice itself and the one above, as channels.
        heads: the head that answers each row, by the number of its data set.
        scans: of which scan each row is; rows of one number are of one scan.
    """

    images: Float[Tensor, "b c h w"]
    heads: Int[Tensor, " b"]
    scans: Int[Tensor, " b"]


class M4oE(nn.Module):
    """A network of modality-specific experts (arXiv 2405.09446); it keeps `moe.system.System`.

    Args:
        sizes: of the host, which is a Swin U-Net as in the paper, or a convolutional one (ours).
        mixture: the experts, and how they are weighed.
        owners: for each head the number of its data set's expert; by default head n has expert n.
    """

    def __init__(
        self, sizes: HostSizes, mixture: ExpertMixture, owners: tuple[int, ...] | None = None
    ) -> None:
        super().__init__()
        self.mixture = mixture
        self.owners = tuple(range(len(sizes.classes))) if owners is None else owners
        places: dict[str, ExpertPlace] = {}

        def make(name: str, width: int, hidden: int) -> nn.Module:
            made[0] += 1
            alone = len(mixture.experts) == 1 and mixture.scores != "channel"
            if made[0] <= mixture.ungated or alone:
                return Shared(width, hidden)
            places[name] = ExpertPlace(name, width, hidden, mixture)
            return places[name]

        made = [0]
        self.host = ConvUNet(sizes, make) if isinstance(sizes, ConvSizes) else SwinUNet(sizes, make)
        self._places = tuple(places.values())

    def sites(self) -> Mapping[str, MoESite]:
        """The gated places, in the order in which they answer."""
        return {place.name: place.site for place in self._places}

    def experts(self) -> Mapping[str, nn.Module]:
        """Each expert's feed-forward parts at all gated places, by its id, in the order of columns."""
        ids = self._places[0].site.ids if self._places else self.mixture.experts
        return {id: nn.ModuleList(place.expert(id) for place in self._places) for id in ids}

    def phases(self) -> tuple[Phase, ...]:
        """What learns when: trunk with known experts, masked images, gate, all together."""
        return phases_of(self.mixture)

    def known(self, heads: Int[Tensor, " b"]) -> ByRow:
        """The rule that has each row answered by the expert of its data set."""
        return ByRow(heads.new_tensor(self.owners)[heads])

    def forward(
        self, batch: Slices, rule: SelectionRule | None = None
    ) -> tuple[Float[Tensor, "b k h w"], Mapping[str, Routing]]:
        """Each row's logits by its own head, and how each gated place routed.

        Heads of fewer classes are filled up with zeros to the most in the batch. With scores "forced" and no
        `rule`, each row is answered by the expert of its data set.
        """
        if rule is None and self.mixture.scores == "forced":
            rule = self.known(batch.heads)
        asked = Asked(batch.scans, rule)
        return self.host(batch.images, batch.heads, asked), asked.found
