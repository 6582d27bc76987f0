"""RLR's network for one feature level: reconstruction from a learnable reference (He et al. 2024, section 3).

A block has no residual path from its input around the attentions. Its tokens come only from two attentions. LCA
(locality-constrained attention) reads the reference near the token. MLKA (masked learnable-key attention) reads the
image outside the token's neighbourhood; its keys come from the reference. Parameter names and initialisation are those
of the official code (``mca`` is LCA, ``nsa`` is MLKA), so that its checkpoints fit.

Details that the paper's text leaves open follow the official code:

- The first half of the position code encodes the column, the second half the row; sine and cosine alternate.
- With several stacked references, each has its own LCA (one softmax each, with the same weights), and the results are
  added; the keys of MLKA come from the last reference.
- Learned gates start at 1 for LCA and 1 for MLKA, not at the fixed weights 2 and 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.blocks.attention import Attention, Bands, neighbour_mask, window_bands, window_mask
from methods.blocks.dropout import Dropout, DropoutSource
from methods.blocks.linear import Linear

if TYPE_CHECKING:
    from methods.rlr.config import RLRConfig

FIXED_WEIGHTS = {"mca": 2.0, "nsa": 1.0, "sa": 1.0}
"""Weights of a block's attentions, if they are not learned."""
_ATTENTIONS = {"both": ("mca", "nsa"), "lca": ("mca",), "mlka": ("nsa",), "plain": ("sa",)}


@dataclass(frozen=True)
class Windows:
    """The local windows of a level.

    Attributes:
        inside: (N, N) mask that shows only the keys inside the window.
        outside: (N, N) mask that shows only the keys outside the window.
        bands: Bands of tokens with their keys inside the windows, from ``window_bands``.
    """

    inside: Tensor
    outside: Tensor
    bands: Bands


class ProjectEmbedding(nn.Module):
    """1x1 convolution of tokens, initialised Kaiming-normal (names as in the official checkpoints)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv1d(channels, width, 1)
        nn.init.kaiming_normal_(self.project.weight, mode="fan_in", nonlinearity="leaky_relu")

    def forward(self, tokens: Tensor) -> Tensor:
        """Project tokens (B, C, N) to (B, N, D)."""
        return self.project(tokens).transpose(1, 2)


class Embedding(nn.Module):
    """Projection plus position code; the code is repeated if several references are stacked."""

    def __init__(self, channels: int, width: int, dropout: float, source: DropoutSource) -> None:
        super().__init__()
        self.project_embedding = ProjectEmbedding(channels, width)
        self.dropout = Dropout(dropout, source)

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Embed tokens (B, C, N) with the position code (1, N, D) to (B, N, D)."""
        return self.dropout(self.project_embedding(tokens) + position)


class FeedForward(nn.Module):
    """Two linear layers with GELU between them (names as in the official checkpoints)."""

    def __init__(self, width: int, hidden: int, dropout: float, source: DropoutSource) -> None:
        super().__init__()
        self.fc1 = Linear(width, hidden)
        self.fc2 = Linear(hidden, width)
        self.dropout = Dropout(dropout, source)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers to (B, N, D) tokens."""
        return self.dropout(self.fc2(F.gelu(self.fc1(x))))


class Block(nn.Module):
    """Weighted sum of LCA and MLKA, norm; then feed-forward with residual path, norm."""

    def __init__(self, config: RLRConfig, width: int, source: DropoutSource) -> None:
        super().__init__()
        self.names = _ATTENTIONS[config.attention]
        for name in self.names:
            setattr(self, name, Attention(width, config.heads, config.dropout, source))
        self.norm1 = nn.LayerNorm(width)
        self.ffn = FeedForward(width, config.mlp_ratio * width, config.dropout, source)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = Dropout(config.dropout, source)

    def forward(self, x: Tensor, references: tuple[Tensor, ...], windows: Windows, gates: Tensor | None) -> Tensor:
        """Apply the block.

        Args:
            x: (B, N, D) tokens.
            references: Embedded references, each (1, N, D); empty for plain attention.
            windows: Local windows.
            gates: (B or 1, 1, K) weights of the K attentions; None for the fixed weights.

        Returns:
            (B, N, D).
        """
        h: Tensor | float = 0.0
        for index, name in enumerate(self.names):
            attention = getattr(self, name)
            if name == "mca":
                attended = sum(attention(x, r, r, windows.inside, windows.bands) for r in references)
            elif name == "nsa":
                attended = attention(x, references[-1], x, windows.outside)
            else:
                attended = attention(x, x, x, None)
            weight = FIXED_WEIGHTS[name] if gates is None else gates[:, :, index, None]
            h = h + weight * self.dropout(attended)
        x = self.norm1(h)
        return self.norm2(x + self.ffn(x))


class Encoder(nn.Module):
    """The blocks, the final norm, and the gates if the attentions' weights are learned."""

    def __init__(self, config: RLRConfig, width: int, source: DropoutSource) -> None:
        super().__init__()
        self.encode_layers = nn.ModuleList([Block(config, width, source) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(width)
        attentions = len(_ATTENTIONS[config.attention])
        self.gate: nn.Parameter | nn.Module | None = None
        if config.gates == "scalar":
            self.gate = nn.Parameter(torch.ones(config.layers, attentions))
        elif config.gates == "network":
            # All layers share one network, as in the official code.
            self.gate = nn.Sequential(
                Linear(2 * width, width), nn.GELU(), Linear(width, attentions), nn.Softmax(dim=-1)
            )

    def forward(self, x: Tensor, references: tuple[Tensor, ...], windows: Windows) -> Tensor:
        """Apply all blocks to (B, N, D) tokens; the arguments are those of ``Block``."""
        for index, layer in enumerate(self.encode_layers):
            x = layer(x, references, windows, self._gates(index, x))
        return self.norm(x)

    def _gates(self, index: int, x: Tensor) -> Tensor | None:
        """Weights (B or 1, 1, K) of the attentions of layer ``index`` with input ``x``; None for the fixed weights."""
        if self.gate is None:
            return None
        if isinstance(self.gate, nn.Parameter):
            return self.gate[index][None, None]
        pooled = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=-1)
        weights: Tensor = self.gate(pooled)
        return weights


class ReferenceNetwork(nn.Module):
    """Reconstructs the features (B, C, h, w) of one level.

    Args:
        config: Hyper-parameters.
        channels: C.
        grid: Side of the grid, h = w.
        width: D, divisible by 4 and by the number of heads.
        window: Side of the local window in tokens.
        source: Source of the dropout's random bits.

    Raises:
        ValueError: If the width is not so divisible, or the window leaves MLKA no visible key.
    """

    position: Tensor
    inside: Tensor
    outside: Tensor

    def __init__(
        self, config: RLRConfig, channels: int, grid: int, width: int, window: int, source: DropoutSource
    ) -> None:
        super().__init__()
        if width % 4:
            raise ValueError(f"a width of {width} is not divisible by 4; the position code needs that")
        tokens = grid * grid
        uses_reference = config.attention != "plain"
        self.tokens = tokens
        self.embedding = Embedding(channels, width, config.dropout, source)
        if uses_reference:
            self.ref_mca = nn.Parameter(torch.randn(1, config.reference_length * tokens, channels))
            self.ref_mca_embedding = Embedding(channels, width, config.dropout, source)
        self.uses_reference = uses_reference
        self.encoder = Encoder(config, width, source)
        self.projection = Linear(width, channels)
        for module in self.modules():
            if isinstance(module, Attention):
                nn.init.zeros_(module.out_proj.bias)  # as in torch's attention
        none = torch.zeros(0)
        inside = window_mask(grid, window) if config.attention in ("both", "lca") else none
        outside = neighbour_mask(grid, window) if config.attention in ("both", "mlka") else none
        self.bands = window_bands(grid, window)
        self.register_buffer("position", sine_position(grid, width), persistent=False)
        self.register_buffer("inside", inside, persistent=False)
        self.register_buffer("outside", outside, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruct (B, C, h, w) features."""
        position = self.position
        references: tuple[Tensor, ...] = ()
        if self.uses_reference:
            # The references are the same for every image; they are embedded and projected to keys and values once.
            stacked = self.ref_mca.transpose(1, 2)
            repeated = position.repeat(1, stacked.shape[2] // self.tokens, 1)
            references = self.ref_mca_embedding(stacked, repeated).split(self.tokens, dim=1)
        x = self.embedding(features.flatten(2), position)
        x = self.projection(self.encoder(x, references, Windows(self.inside, self.outside, self.bands)))
        return x.transpose(1, 2).reshape(features.shape)

    def reference_similarity(self) -> Tensor:
        """Cosine similarity of the n stacked references, mean over tokens: sum over pairs / (n * (n - 1))."""
        references = self.ref_mca.split(self.tokens, dim=1)
        n = len(references)
        pairs = [(a, b) for index, a in enumerate(references) for b in references[index + 1 :]]
        return torch.stack([F.cosine_similarity(a, b, dim=2).mean() for a, b in pairs]).sum() / (n * (n - 1))


def sine_position(grid: int, width: int) -> Tensor:
    """Fixed position code: alternating sine and cosine, the first half of the column, the second half of the row.

    Args:
        grid: Side of the token grid.
        width: D, divisible by 4.

    Returns:
        (1, N, D). The frequencies fall from 1 to nearly 1 / 10,000.
    """
    half = width // 2
    frequency = torch.exp(torch.arange(0, half, 2) * (-math.log(10000.0) / half))
    angle = torch.arange(grid)[:, None] * frequency  # (grid, D / 4)
    code = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)  # (grid, D / 2)
    full = torch.cat([code[None].expand(grid, -1, -1), code[:, None].expand(-1, grid, -1)], dim=-1)
    return full.reshape(1, grid * grid, width)
