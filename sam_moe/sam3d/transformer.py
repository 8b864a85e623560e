"""The two-way transformer between prompt tokens and image tokens, on segment-anything's parameter names."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention with an inner width of `dim / downsample_rate`."""

    def __init__(self, dim: int, num_heads: int, downsample_rate: int = 1) -> None:
        super().__init__()
        inner = dim // downsample_rate
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(dim, inner)
        self.v_proj = nn.Linear(dim, inner)
        self.out_proj = nn.Linear(inner, dim)

    def forward(
        self, q: Float[Tensor, "b q c"], k: Float[Tensor, "b k c"], v: Float[Tensor, "b k c"]
    ) -> Float[Tensor, "b q c"]:
        """Attend from q to k, gathering v."""
        heads = [
            proj(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for proj, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        ]
        out = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        return self.out_proj(out)  # type: ignore[no-any-return]  # nn.Module calls are untyped


class ReluMLP(nn.Module):
    """Two linear layers with ReLU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden)
        self.lin2 = nn.Linear(hidden, dim)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """Token by token."""
        return self.lin2(F.relu(self.lin1(x)))  # type: ignore[no-any-return]


class TwoWayAttentionBlock(nn.Module):
    """Self-attention, tokens to image, MLP, image to tokens (Segment Anything, arXiv 2304.02643, appendix A).

    The first block's self-attention knows no positions and replaces the queries.
    """

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(dim, num_heads)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = Attention(dim, num_heads, downsample_rate=2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = ReluMLP(dim, mlp_dim)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = Attention(dim, num_heads, downsample_rate=2)

    def forward(
        self,
        tokens: Float[Tensor, "b t c"],
        source: Float[Tensor, "b n c"],
        token_position: Float[Tensor, "b t c"],
        source_position: Float[Tensor, "1 n c"],
    ) -> tuple[Float[Tensor, "b t c"], Float[Tensor, "b n c"]]:
        """Let both sides listen to each other once; values never carry positions."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_position
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        placed = source + source_position
        tokens = tokens + self.cross_attn_token_to_image(tokens + token_position, placed, source)
        tokens = self.norm2(tokens)
        tokens = self.norm3(tokens + self.mlp(tokens))
        heard = self.cross_attn_image_to_token(placed, tokens + token_position, tokens)
        return tokens, self.norm4(source + heard)


class TwoWayTransformer(nn.Module):
    """A few two-way blocks and a last look of the tokens at the image."""

    def __init__(self, dim: int, depth: int, num_heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(dim, num_heads, mlp_dim, first=i == 0) for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(dim, num_heads, downsample_rate=2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(
        self,
        source: Float[Tensor, "b n c"],
        source_position: Float[Tensor, "1 n c"],
        tokens: Float[Tensor, "b t c"],
    ) -> tuple[Float[Tensor, "b t c"], Float[Tensor, "b n c"]]:
        """Return tokens and image tokens after their conversation; a token's position is how it began."""
        position = tokens
        for layer in self.layers:
            tokens, source = layer(tokens, source, position, source_position)
        heard = self.final_attn_token_to_image(tokens + position, source + source_position, source)
        return self.norm_final_attn(tokens + heard), source


