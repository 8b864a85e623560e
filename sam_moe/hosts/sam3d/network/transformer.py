"""The two-way transformer between prompt tokens and image tokens, on segment-anything's parameter names."""

from torch import Tensor, nn
from torch.nn import functional as F

from sam_moe.hosts.sam3d.network.layers import Derived
from sam_moe.shapes import Float


class Attention(nn.Module):
    """Multi-head attention with an inner width of `dim / downsample_rate`.

    `forward` is the definition. `listen` and `answer` are the same between few prompt tokens and many image
    tokens ("ours", exact): a projection W of image tokens s only ever meets a few vectors x, so x (W s) is
    computed as (x W) s and no image token is projected. What their positions add to it, W p + b, is known
    before the first click.
    """

    def __init__(self, dim: int, num_heads: int, downsample_rate: int = 1) -> None:
        super().__init__()
        inner = dim // downsample_rate
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, inner)
        self.k_proj = nn.Linear(dim, inner)
        self.v_proj = nn.Linear(dim, inner)
        self.out_proj = nn.Linear(inner, dim)
        self._placed = Derived()

    def forward(
        self, q: Float[Tensor, "b q c"], k: Float[Tensor, "b k c"], v: Float[Tensor, "b k c"]
    ) -> Float[Tensor, "b q c"]:
        """Attend from q to k, gathering v."""
        q, k, v = self._heads(self.q_proj(q)), self._heads(self.k_proj(k)), self._heads(self.v_proj(v))
        return self._join(F.scaled_dot_product_attention(q, k, v))

    def token_to_image(
        self,
        tokens: Float[Tensor, "b t c"],
        source: Float[Tensor, "b n c"],
        source_position: Float[Tensor, "1 n c"],
    ) -> Float[Tensor, "b t c"]:
        """Attend from few tokens to the image: `forward(tokens, source + source_position, source)`."""
        q = self._heads(self.q_proj(tokens)) * self._scale
        scores = self._flat(q @ self._split(self.k_proj.weight)) @ source.transpose(1, 2)
        scores = scores.unflatten(1, q.shape[1:3]) + q @ self._position(self.k_proj, source_position).mT
        gathered = (self._flat(scores.softmax(dim=-1)) @ source).unflatten(1, q.shape[1:3])
        assert self.v_proj.bias is not None
        v = gathered @ self._split(self.v_proj.weight).mT + self._heads(self.v_proj.bias[None, None])
        return self._join(v)

    def image_to_token(
        self,
        source: Float[Tensor, "b n c"],
        source_position: Float[Tensor, "1 n c"],
        k: Float[Tensor, "b t c"],
        v: Float[Tensor, "b t c"],
    ) -> Float[Tensor, "b n c"]:
        """Attend from the image to few tokens: `forward(source + source_position, k, v)`."""
        k = self._heads(self.k_proj(k)) * self._scale
        v = self._heads(self.v_proj(v))
        scores = self._flat(k @ self._split(self.q_proj.weight)) @ source.mT
        placed = k @ self._position(self.q_proj, source_position).mT
        weights = (scores.unflatten(1, k.shape[1:3]) + placed).softmax(
            dim=2
        )  # over the few: heads, few, many
        values = self._flat(v @ self.out_proj.weight.mT.unflatten(0, (self.num_heads, -1)))
        gathered: Tensor = self._flat(weights).mT @ values + self.out_proj.bias
        return gathered

    @property
    def _scale(self) -> float:
        return float((self.q_proj.out_features // self.num_heads) ** -0.5)

    def _position(self, proj: nn.Linear, position: Float[Tensor, "1 n c"]) -> Float[Tensor, "1 h n e"]:
        """What positions add to a projection, and its bias."""
        (placed,) = self._placed(
            lambda: (self._heads(proj(position)).contiguous(),), position, *proj.parameters()
        )
        return placed

    def _heads(self, x: Float[Tensor, "b t i"]) -> Float[Tensor, "b h t e"]:
        heads: Tensor = x.unflatten(-1, (self.num_heads, -1))
        return heads.transpose(1, 2)

    def _join(self, x: Float[Tensor, "b h t e"]) -> Float[Tensor, "b t c"]:
        out: Tensor = self.out_proj(x.transpose(1, 2).flatten(2))
        return out

    def _split(self, weight: Float[Tensor, "i c"]) -> Float[Tensor, "h e c"]:
        split: Tensor = weight.unflatten(0, (self.num_heads, -1))
        return split

    @staticmethod
    def _flat(x: Float[Tensor, "b h t c"]) -> Float[Tensor, "b ht c"]:
        return x.flatten(1, 2)


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
        """Tokens attend to the image, then the image to the tokens; values never carry positions."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_position
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        tokens = tokens + self.cross_attn_token_to_image.token_to_image(
            tokens + token_position, source, source_position
        )
        tokens = self.norm2(tokens)
        tokens = self.norm3(tokens + self.mlp(tokens))
        gathered = self.cross_attn_image_to_token.image_to_token(
            source, source_position, tokens + token_position, tokens
        )
        return tokens, self.norm4(source + gathered)


class TwoWayTransformer(nn.Module):
    """A few two-way blocks, and a last attention of the tokens to the image."""

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
        """Tokens and image tokens after all blocks; a token's position is its value before the first."""
        position = tokens
        for layer in self.layers:
            tokens, source = layer(tokens, source, position, source_position)
        gathered = self.final_attn_token_to_image.token_to_image(tokens + position, source, source_position)
        return self.norm_final_attn(tokens + gathered), source
