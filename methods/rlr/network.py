"""RLR's network for one feature level: reconstruction from a learnable reference (He et al. 2024, section 3).

A block has no residual path from its input: what it puts out is what attention fetched, either from the
reference near the token (LCA: locality-constrained attention) or from the image far from it, found by comparing
the image with the reference (MLKA: masked learnable-key attention). Parameter names and initialisation are those
of the official code (``mca`` is LCA, ``nsa`` is MLKA), so that its checkpoints fit. The configuration and the
detector stand in ``methods/rlr/detector.py``.

Where the paper's text leaves a choice open, the official code decides:

- The position code's first half is of the column, the second of the row; sine and cosine alternate.
- Of several stacked references each has an LCA of its own (one softmax each, same weights), and the results are
  added up; MLKA compares with the last reference.
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
"""Weights of a block's attentions where they are not learned."""
_ATTENTIONS = {"both": ("mca", "nsa"), "lca": ("mca",), "mlka": ("nsa",), "plain": ("sa",)}


@dataclass(frozen=True)
class Windows:
    """The local windows of a level.

    Attributes:
        inside: (N, N) mask that shows the keys inside the window only.
        outside: (N, N) mask that shows the keys outside it only.
        bands: Where the keys inside the windows lie.
    """

    inside: Tensor
    outside: Tensor
    bands: Bands


class ProjectEmbedding(nn.Module):
    """1x1 convolution of tokens, Kaiming-normal (names as in the official checkpoints)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv1d(channels, width, 1)
        nn.init.kaiming_normal_(self.project.weight, mode="fan_in", nonlinearity="leaky_relu")

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, C, N) to (B, N, D)."""
        return self.project(tokens).transpose(1, 2)


class Embedding(nn.Module):
    """Projection and position code; the code is repeated where several references are stacked."""

    def __init__(self, channels: int, width: int, dropout: float, source: DropoutSource) -> None:
        super().__init__()
        self.project_embedding = ProjectEmbedding(channels, width)
        self.dropout = Dropout(dropout, source)

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """(B, C, N) tokens, (1, N, D) position code to (B, N, D)."""
        return self.dropout(self.project_embedding(tokens) + position)


class FeedForward(nn.Module):
    """Two linear layers with GELU between them (names as in the official checkpoints)."""

    def __init__(self, width: int, hidden: int, dropout: float, source: DropoutSource) -> None:
        super().__init__()
        self.fc1 = Linear(width, hidden)
        self.fc2 = Linear(hidden, width)
        self.dropout = Dropout(dropout, source)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        return self.dropout(self.fc2(F.gelu(self.fc1(x))))


class Block(nn.Module):
    """LCA and MLKA side by side, weighted sum, norm; then feed-forward with residual, norm."""

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
        """One block.

        Args:
            x: (B, N, D) tokens.
            references: Embedded references, (1, N, D) each; none for plain attention.
            windows: Local windows.
            gates: (B or 1, 1, K) weights of the K attentions; None for the fixed ones.

        Returns:
            (B, N, D).
        """
        h: Tensor | float = 0.0
        for place, name in enumerate(self.names):
            attention = getattr(self, name)
            if name == "mca":
                fetched = sum(attention(x, r, r, windows.inside, windows.bands) for r in references)
            elif name == "nsa":
                fetched = attention(x, references[-1], x, windows.outside)
            else:
                fetched = attention(x, x, x, None)
            weight = FIXED_WEIGHTS[name] if gates is None else gates[:, :, place, None]
            h = h + weight * self.dropout(fetched)
        x = self.norm1(h)
        return self.norm2(x + self.ffn(x))


class Encoder(nn.Module):
    """The blocks, the final norm, and the gates where the attentions' weights are learned."""

    def __init__(self, config: RLRConfig, width: int, source: DropoutSource) -> None:
        super().__init__()
        self.encode_layers = nn.ModuleList([Block(config, width, source) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(width)
        attentions = len(_ATTENTIONS[config.attention])
        self.gate: nn.Parameter | nn.Module | None = None
        if config.gates == "scalar":
            self.gate = nn.Parameter(torch.ones(config.layers, attentions))
        elif config.gates == "network":
            # One for all layers, as in the official code.
            self.gate = nn.Sequential(
                Linear(2 * width, width), nn.GELU(), Linear(width, attentions), nn.Softmax(dim=-1)
            )

    def forward(self, x: Tensor, references: tuple[Tensor, ...], windows: Windows) -> Tensor:
        """(B, N, D) to (B, N, D); arguments as of ``Block``."""
        for index, layer in enumerate(self.encode_layers):
            x = layer(x, references, windows, self._gates(index, x))
        return self.norm(x)

    def _gates(self, index: int, x: Tensor) -> Tensor | None:
        """(B or 1, 1, K) weights of the attentions of layer ``index`` with input ``x``; None for the fixed ones."""
        if self.gate is None:
            return None
        if isinstance(self.gate, nn.Parameter):
            return self.gate[index][None, None]
        pooled = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=-1)
        weights: Tensor = self.gate(pooled)
        return weights


class ReferenceNetwork(nn.Module):
    """(B, C, h, w) features of one level to their reconstruction.

    Args:
        config: Hyper-parameters.
        channels: C.
        grid: h = w.
        width: D, divisible by 4 and by the heads.
        window: Side of the local window in tokens.
        source: Random bits of the dropout.

    Raises:
        ValueError: If the width does not fit, or the window leaves MLKA no visible key.
    """

    position: Tensor
    inside: Tensor
    outside: Tensor

    def __init__(
        self, config: RLRConfig, channels: int, grid: int, width: int, window: int, source: DropoutSource
    ) -> None:
        super().__init__()
        if width % 4:
            raise ValueError(f"a width of {width} is not divisible by 4, as sine and cosine of two axes need")
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
                nn.init.zeros_(module.out_proj.bias)  # as torch's attention starts
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
            # The same for every image: embedded, and projected to keys and values, once.
            stacked = self.ref_mca.transpose(1, 2)
            repeated = position.repeat(1, stacked.shape[2] // self.tokens, 1)
            references = self.ref_mca_embedding(stacked, repeated).split(self.tokens, dim=1)
        x = self.embedding(features.flatten(2), position)
        x = self.projection(self.encoder(x, references, Windows(self.inside, self.outside, self.bands)))
        return x.transpose(1, 2).reshape(features.shape)

    def reference_similarity(self) -> Tensor:
        """Cosine similarity of the stacked references, place by place: sum over pairs / (n * (n - 1)), n references."""
        references = self.ref_mca.split(self.tokens, dim=1)
        n = len(references)
        pairs = [(a, b) for index, a in enumerate(references) for b in references[index + 1 :]]
        return torch.stack([F.cosine_similarity(a, b, dim=2).mean() for a, b in pairs]).sum() / (n * (n - 1))


def sine_position(grid: int, width: int) -> Tensor:
    """Fixed code of the place: sine and cosine alternating, first half of the column, second half of the row.

    Args:
        grid: Side of the token grid.
        width: D, divisible by 4.

    Returns:
        (1, N, D); frequencies fall from 1 to nearly 1 / 10,000.
    """
    half = width // 2
    frequency = torch.exp(torch.arange(0, half, 2) * (-math.log(10000.0) / half))
    angle = torch.arange(grid)[:, None] * frequency  # (grid, D / 4)
    code = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)  # (grid, D / 2)
    full = torch.cat([code[None].expand(grid, -1, -1), code[:, None].expand(-1, grid, -1)], dim=-1)
    return full.reshape(1, grid * grid, width)
