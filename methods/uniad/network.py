"""UniAD's network: neighbour-masked encoder and layer-wise query decoder (You et al. 2022, section 3).

Parameter names and initialisation are those of the official code, so that its checkpoints fit.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.blocks.attention import Attention, neighbour_mask
from methods.blocks.dropout import Dropout, DropoutSource
from methods.blocks.linear import Linear

if TYPE_CHECKING:
    from methods.uniad.config import UniADConfig

_Layer = TypeVar("_Layer", bound=nn.Module)


class FeedForward(nn.Module):
    """Base class of the layers: two linear layers with ReLU and dropout between them.

    The names are those of the official checkpoints.
    """

    def __init__(self, width: int, hidden: int, dropout: float, source: DropoutSource) -> None:
        super().__init__()
        self.linear1 = Linear(width, hidden)
        self.linear2 = Linear(hidden, width)
        self.dropout = Dropout(dropout, source)

    def feed(self, x: Tensor) -> Tensor:
        """Apply the feed-forward to (B, N, D) tokens."""
        output: Tensor = self.linear2(self.dropout(F.relu(self.linear1(x))))
        return output


class EncoderLayer(FeedForward):
    """Self-attention and feed-forward, each with residual path and post-norm."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, source: DropoutSource) -> None:
        super().__init__(width, hidden, dropout, source)
        self.self_attn = Attention(width, heads, dropout, source)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, position: Tensor, mask: Tensor | None) -> Tensor:
        """Apply the layer to tokens (B, N, D) with position code (1, N, D) and mask (N, N); the result is (B, N, D)."""
        located = x + position
        x = self.norm1(x + self.dropout(self.self_attn(located, located, x, mask)))
        return self.norm2(x + self.dropout(self.feed(x)))


class DecoderLayer(FeedForward):
    """Attention from the query to the encoder output, then to the previous layer's output (paper, figure 3)."""

    def __init__(self, config: UniADConfig, tokens: int, source: DropoutSource, *, query: bool) -> None:
        super().__init__(config.width, config.feedforward, config.dropout, source)
        self.learned_embed = nn.Embedding(tokens, config.width) if query else None
        self.self_attn = Attention(config.width, config.heads, config.dropout, source)
        self.multihead_attn = Attention(config.width, config.heads, config.dropout, source)
        self.norm1 = nn.LayerNorm(config.width)
        self.norm2 = nn.LayerNorm(config.width)
        self.norm3 = nn.LayerNorm(config.width)

    def forward(
        self,
        previous: Tensor,
        memory: Tensor,
        position: Tensor,
        cross_mask: Tensor | None,
        self_mask: Tensor | None,
    ) -> Tensor:
        """Apply the layer.

        Args:
            previous: (B, N, D) output y of the previous layer; for the first layer, the encoder output.
            memory: (B, N, D) encoder output E.
            position: (1, N, D) position code.
            cross_mask: (N, N) mask of the attention to E.
            self_mask: (N, N) mask of the attention to y.

        Returns:
            (B, N, D). With a query table, there is no residual path from y or E to the result.
        """
        # A table is the same for every image, so it is projected once: (1, N, D).
        query = previous if self.learned_embed is None else self.learned_embed.weight[None]
        attended = self.self_attn(query + position, memory + position, memory, cross_mask)
        t = self.norm1(query + self.dropout(attended))
        t = self.norm2(t + self.dropout(self.multihead_attn(t + position, previous + position, previous, self_mask)))
        return self.norm3(t + self.dropout(self.feed(t)))


class LearnedPosition(nn.Module):
    """Learned tables of rows and columns, each of half the width; the code at (r, c) is concat(column[c], row[r])."""

    def __init__(self, grid: int, width: int) -> None:
        super().__init__()
        self.row_embed = nn.Embedding(grid, width // 2)
        self.col_embed = nn.Embedding(grid, width // 2)
        nn.init.uniform_(self.row_embed.weight)
        nn.init.uniform_(self.col_embed.weight)

    def forward(self) -> Tensor:
        """The position code (1, N, D)."""
        rows, columns = self.row_embed.weight, self.col_embed.weight
        grid = rows.shape[0]
        code = torch.cat([columns[None].expand(grid, -1, -1), rows[:, None].expand(-1, grid, -1)], dim=-1)
        return code.reshape(1, grid * grid, -1)


class SinePosition(nn.Module):
    """Fixed sine and cosine code of row and column, normalised to 2 pi (Carion et al. 2020)."""

    code: Tensor

    def __init__(self, grid: int, width: int) -> None:
        super().__init__()
        position = (torch.arange(grid) + 1) / (grid + 1e-6) * 2 * torch.pi
        half = width // 2
        frequency = 10000 ** (2 * (torch.arange(half) // 2) / half)
        angle = position[:, None] / frequency
        code = torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=-1).flatten(1)  # (grid, D / 2)
        full = torch.cat([code[:, None].expand(-1, grid, -1), code[None].expand(grid, -1, -1)], dim=-1)
        self.register_buffer("code", full.reshape(1, grid * grid, width), persistent=False)

    def forward(self) -> Tensor:
        """The position code (1, N, D)."""
        return self.code


class LayerStack(nn.Module):
    """A list of layers under the name that the official checkpoints give it."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class NormedLayerStack(LayerStack):
    """A list of layers and a norm for the output of the last one."""

    def __init__(self, layers: Sequence[nn.Module], width: int) -> None:
        super().__init__(layers)
        self.norm = nn.LayerNorm(width)


class _Transformer(nn.Module):
    """Encoder and decoder under the names that the official checkpoints give them."""

    def __init__(self, encoder: LayerStack, decoder: NormedLayerStack) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder


class UniADNetwork(nn.Module):
    """Reconstructs features (B, C, h, w). Parameter names are those of the official checkpoints."""

    mask: Tensor

    def __init__(self, config: UniADConfig, channels: int, source: DropoutSource) -> None:
        super().__init__()
        tokens = config.grid**2
        self.config = config
        self.pos_embed = (
            LearnedPosition(config.grid, config.width)
            if config.position == "learned"
            else SinePosition(config.grid, config.width)
        )
        # As in the official code, layers are copies of one layer, so that query tables and attention in-projections of
        # all layers have equal initial values. Linear layers are initialised one by one below.
        encoder = EncoderLayer(config.width, config.heads, config.feedforward, config.dropout, source)
        decoder = DecoderLayer(config, tokens, source, query=config.query != "none")
        encoders = [_copy(encoder, source) for _ in range(config.encoder_layers)]
        decoders = [_copy(decoder, source) for _ in range(config.decoder_layers)]
        if config.query == "first":
            for layer in decoders[1:]:
                layer.learned_embed = None
        self.transformer = _Transformer(LayerStack(encoders), NormedLayerStack(decoders, config.width))
        self.input_proj = Linear(channels, config.width)
        self.output_proj = Linear(config.width, channels)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        masked = config.mask_encoder or config.mask_decoder_cross or config.mask_decoder_self
        mask = neighbour_mask(config.grid, config.neighbour_size) if masked else torch.zeros(0)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruct (B, C, h, w) features."""
        B, C, H, W = features.shape
        config = self.config
        mask = self.mask
        x = self.input_proj(features.flatten(2).transpose(1, 2))  # (B, N, D)
        position = self.pos_embed()
        for layer in self.transformer.encoder.layers:
            x = layer(x, position, mask if config.mask_encoder else None)
        memory = x
        cross_mask = mask if config.mask_decoder_cross else None
        self_mask = mask if config.mask_decoder_self else None
        for layer in self.transformer.decoder.layers:
            x = layer(x, memory, position, cross_mask, self_mask)
        x = self.output_proj(self.transformer.decoder.norm(x))
        return x.transpose(1, 2).reshape(B, C, H, W)


def _copy(layer: _Layer, source: DropoutSource) -> _Layer:
    """A deep copy that shares the source of dropout bits with the original."""
    return copy.deepcopy(layer, {id(source): source})
