"""From pixels to tokens and back: patches, merging four tokens into one, expanding one into many."""

from torch import Tensor, nn

from sam_moe.shapes import Float


class PatchEmbedding(nn.Module):
    """Patches of a picture as tokens, in the order of rows, normalised."""

    def __init__(self, channels: int, width: int, patch: int, eps: float) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, patch)
        self.norm = nn.LayerNorm(width, eps=eps)

    def forward(self, images: Float[Tensor, "b k h w"]) -> Float[Tensor, "b n c"]:
        """One token a patch."""
        return self.norm(self.proj(images).flatten(2).transpose(1, 2))  # type: ignore[no-any-return]


class PatchMerging(nn.Module):
    """Four neighbouring tokens become one of twice the width (Swin, arXiv 2103.14030, section 3.1).

    The four lie beside each other in the order of columns: above left, below left, above right, below right.
    """

    def __init__(self, width: int, tokens: int, eps: float) -> None:
        super().__init__()
        self.tokens = tokens
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width, eps=eps)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b m d"]:
        """A quarter of the tokens, half as many a side."""
        batch, _, width = x.shape
        half = self.tokens // 2
        squares = x.view(batch, half, 2, half, 2, width).permute(0, 1, 3, 4, 2, 5)
        return self.reduction(self.norm(squares.reshape(batch, half * half, 4 * width)))  # type: ignore[no-any-return]


class PatchExpand(nn.Module):
    """A token becomes `factor * factor` tokens, in the order of rows, each normalised.

    Swin-Unet (Cao et al., arXiv 2105.05537), section 3.2. A factor of 2 halves the width, the
    last one of 4 keeps it.
    """

    def __init__(self, width: int, tokens: int, factor: int, eps: float) -> None:
        super().__init__()
        self.tokens, self.factor = tokens, factor
        self.width = width if factor == 4 else width // 2
        self.expand = nn.Linear(width, factor * factor * self.width, bias=False)
        self.norm = nn.LayerNorm(self.width, eps=eps)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b m d"]:
        """Tokens of the finer square."""
        return self.arrange(self.squares(x))

    def squares(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n squares d"]:
        """For each token those that it becomes."""
        return self.norm(self.expand(x).unflatten(2, (self.factor**2, self.width)))  # type: ignore[no-any-return]

    def arrange(self, squares: Float[Tensor, "b n squares d"]) -> Float[Tensor, "b m d"]:
        """Put what tokens became in the order of rows of the finer square."""
        batch, _, _, width = squares.shape
        grid = squares.view(batch, self.tokens, self.tokens, self.factor, self.factor, width)
        return grid.transpose(2, 3).reshape(batch, (self.tokens * self.factor) ** 2, width)
