"""A 2-D U-Net of MONAI's convolutions with places for feed-forward experts on its coarsest levels (ours).

At the sizes that a few processors can train, plain convolutions learn about ten times as much an hour as the
paper's Swin blocks (`benchmarks/LOG.md`); so the same experts, gate and phases stand in a network of them.
"""

from collections.abc import Callable
from typing import Any

from monai.networks.nets.basic_unet import Down, TwoConv, UpCat
from torch import Tensor, nn

from sam_moe.hosts.conv_unet.sizes import ConvSizes
from sam_moe.shapes import Float, Int

# Makes what stands at a place: its name, the width of its vectors and its hidden width.
FeedForwardMaker = Callable[[str, int, int], nn.Module]

_ACT = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})
_NORM = ("instance", {"affine": True})


class Place(nn.Module):
    """A feed-forward part on the vectors of a map, normalised before and added to them after."""

    def __init__(self, width: int, mlp: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = mlp

    def forward(self, x: Float[Tensor, "b c h w"], asked: Any) -> Float[Tensor, "b c h w"]:
        """The map with what its place adds."""
        tokens = x.flatten(2).transpose(1, 2)
        added: Tensor = self.mlp(self.norm(tokens), asked)
        return x + added.transpose(1, 2).reshape(x.shape)


class ConvUNet(nn.Module):
    """The U-Net of MONAI's `BasicUNet`, with a place behind each block of its coarsest levels.

    Args:
        sizes: its levels and heads; `outputs` are one 1 x 1 convolution a data set, applied to `features`.
        feed_forward: makes what stands at the places "down.<level>" and "up.<level>"; it is called with a
            map's vectors `[b, n, c]` and with what the network was `asked`.
    """

    def __init__(self, sizes: ConvSizes, feed_forward: FeedForwardMaker) -> None:
        super().__init__()
        widths, deepest = sizes.widths, len(sizes.widths) - 1
        first = len(widths) - sizes.site_levels
        self.sizes = sizes
        self.stem = TwoConv(2, sizes.in_channels, widths[0], _ACT, _NORM, bias=True)
        self.down = nn.ModuleList(
            Down(2, widths[level - 1], widths[level], _ACT, _NORM, bias=True)
            for level in range(1, len(widths))
        )
        self.up = nn.ModuleList(
            UpCat(2, widths[level + 1], widths[level], widths[level], _ACT, _NORM, bias=True, halves=False)
            for level in reversed(range(deepest))
        )

        def place(name: str, level: int) -> Place:
            return Place(widths[level], feed_forward(name, widths[level], sizes.mlp_ratio * widths[level]))

        self.down_places = nn.ModuleDict(
            {str(level): place(f"down.{level}", level) for level in range(first, len(widths))}
        )
        self.up_places = nn.ModuleDict(
            {str(level): place(f"up.{level}", level) for level in reversed(range(first, deepest))}
        )
        self.outputs = nn.ModuleList(nn.Conv2d(widths[0], count, 1) for count in sizes.classes)

    def features(self, images: Float[Tensor, "b c h w"], asked: Any = None) -> Float[Tensor, "b f h w"]:
        """What heads see, at the images' own pixels."""
        x = self.stem(images)
        kept = []
        for level, down in enumerate(self.down, start=1):
            kept.append(x)
            x = down(x)
            if str(level) in self.down_places:
                x = self.down_places[str(level)](x, asked)
        for level, up in zip(reversed(range(len(self.down))), self.up, strict=True):
            x = up(x, kept[level])
            if str(level) in self.up_places:
                x = self.up_places[str(level)](x, asked)
        found: Tensor = x
        return found

    def forward(
        self, images: Float[Tensor, "b c h w"], heads: Int[Tensor, " b"], asked: Any = None
    ) -> Float[Tensor, "b k h w"]:
        """Each row's logits by its own head, filled up with zeros to the most classes in the batch."""
        features = self.features(images, asked)
        found: list[int] = heads.unique().tolist()
        answers = {head: self.outputs[head](features[heads == head]) for head in found}
        if len(found) == 1:
            alone: Tensor = answers[found[0]]
            return alone
        most = max(answer.shape[1] for answer in answers.values())
        joined = features.new_zeros(len(heads), most, *features.shape[2:])
        for head, answer in answers.items():
            joined[heads == head, : answer.shape[1]] = answer
        return joined
