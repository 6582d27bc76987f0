"""HVQ-Trans's network: a transformer whose decoder sees only quantised encoder levels (Lu et al. 2023, section 3).

Parameter and buffer names are those of the official checkpoints. ``quantize_list_1`` is level 0, the last list is the
top level. ``input_proj`` exists only because it is part of these checkpoints; it is never used.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from methods.blocks.attention import Attention
from methods.blocks.dropout import DropoutSource
from methods.blocks.linear import Linear
from methods.hvq_trans.codebook import Codebook, transport_cost
from methods.uniad.network import EncoderLayer, FeedForward, LayerStack, LearnedPosition, NormedLayerStack

if TYPE_CHECKING:
    from methods.hvq_trans.config import HVQTransConfig


class QuantisedDecoderLayer(FeedForward):
    """Self-attention, attention to one quantised level, and feed-forward, each with post-norm; width 2 D."""

    def __init__(self, config: HVQTransConfig, source: DropoutSource) -> None:
        width = 2 * config.width
        super().__init__(width, config.feedforward, config.dropout, source)
        self.self_attn = Attention(width, config.heads, config.dropout, source)
        self.multihead_attn = Attention(width, config.heads, config.dropout, source)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, y: Tensor, memory: Tensor, position: Tensor) -> Tensor:
        """Apply the layer to tokens and memory, both (B, N, 2 D), with the position code (1, N, 2 D)."""
        located = y + position
        y = self.norm1(y + self.dropout(self.self_attn(located, located, y, None)))
        y = self.norm2(y + self.dropout(self.multihead_attn(y + position, memory + position, memory, None)))
        return self.norm3(y + self.dropout(self.feed(y)))


@dataclass(frozen=True)
class Quantised:
    """The result of the quantisation between encoder and decoder.

    Attributes:
        memories: One (B, N, 2 D) tensor per decoder layer.
        commitment: Sum over levels of the batch's mean commitment term, a scalar.
        transported: (B, N, D or 2 D) input of the shallowest quantiser, for which the transport cost is computed.
    """

    memories: list[Tensor]
    commitment: Tensor
    transported: Tensor


class QuantisedTransformer(nn.Module):
    """Reconstructs features (B, C, h, w), with the index of each image's category."""

    def __init__(
        self, config: HVQTransConfig, channels: int, grid: int, categories: int, source: DropoutSource
    ) -> None:
        super().__init__()
        D = config.width
        self.config = config
        self.pos_embed = LearnedPosition(grid, D)
        self.quantize_conv_t = nn.Conv2d(channels, D, 1)
        self.input_proj = Linear(channels, D)
        # As in the official code, layers are copies of one layer and have equal initial values.
        shared = {id(source): source}
        encoder = EncoderLayer(D, config.heads, config.feedforward, config.dropout, source)
        decoder = QuantisedDecoderLayer(config, source)
        self.encoder = LayerStack([copy.deepcopy(encoder, dict(shared)) for _ in range(config.layers)])
        decoders = [copy.deepcopy(decoder, dict(shared)) for _ in range(config.layers)]
        self.decoder = NormedLayerStack(decoders, 2 * D)
        experts = categories if config.experts == "per_category" else 1
        self.output_proj_list = nn.ModuleList([Linear(2 * D, channels) for _ in range(experts)])
        books = categories if config.codebooks == "per_category" else 1
        for level in self.levels:
            width = D if level == config.layers else 2 * D
            lists = [Codebook(width, config.codes, config.cluster_size) for _ in range(books)]
            self.add_module(f"quantize_list_{level + 1}", nn.ModuleList(lists))
        for module in self.modules():
            if isinstance(module, Attention):
                nn.init.zeros_(module.out_proj.bias)  # as in torch's attention; all others are torch's defaults

    @property
    def levels(self) -> range:
        """Quantised levels, the top one (the encoder's output) last; empty if nothing is quantised."""
        return range(self.config.layers + 1 - self.config.levels, self.config.layers + 1)

    def codebook(self, level: int, category: int) -> Codebook:
        """The codebook of a level and a category."""
        books: nn.ModuleList = getattr(self, f"quantize_list_{level + 1}")
        return cast(Codebook, books[category if len(books) > 1 else 0])

    def encode(self, features: Tensor) -> list[Tensor]:
        """The encoder's input and the outputs of its layers, each (B, N, D), for features (B, C, h, w)."""
        x = self.quantize_conv_t(features).flatten(2).transpose(1, 2)
        position = self.pos_embed()
        levels = [x]
        for layer in self.encoder.layers:
            levels.append(layer(levels[-1], position, None))
        return levels

    def quantise(self, levels: list[Tensor], categories: Sequence[int]) -> Quantised:
        """Quantise each image with its category's codebooks, top level first.

        As in the official code, this happens image by image; in training, the codebooks are updated after each image.
        """
        with torch.autocast(levels[0].device.type, enabled=False):  # distances need float32
            wide = [x.float() if x.dtype == torch.bfloat16 else x for x in levels]
            images = [self._quantise_image([x[row] for x in wide], c) for row, c in enumerate(categories)]
        memories = [torch.stack(level) for level in zip(*(memory for memory, _, _ in images), strict=True)]
        commitment = torch.stack([c for _, c, _ in images]).mean()
        return Quantised(memories, commitment, torch.stack([t for _, _, t in images]))

    def _quantise_image(self, levels: list[Tensor], category: int) -> tuple[list[Tensor], Tensor, Tensor]:
        """One image's memories for each decoder layer (deepest level first), commitment and transported vectors."""
        deepest = self.config.layers
        top, commitment = levels[deepest], levels[deepest].new_zeros(())
        transported = top
        if self.levels:
            top, commitment = self.codebook(deepest, category)(top)
        memories: list[Tensor] = []
        for level in range(deepest - 1, -1, -1):
            both = torch.cat([levels[level], top], dim=-1)
            if level in self.levels:
                memory, term = self.codebook(level, category)(both)
                commitment = commitment + term
                transported = both
            elif not self.levels:
                memory = both  # nothing is quantised
            else:  # there are fewer levels than decoder layers; the rest use the shallowest quantised level
                memory = memories[-1] if memories else torch.cat([top, top], dim=-1)
            memories.append(memory)
        return memories, commitment, transported

    def decode(self, memories: list[Tensor], categories: Sequence[int], size: torch.Size) -> Tensor:
        """Decode memories to features (B, C, h, w), with the output layer of each image's category."""
        B, C, H, W = size
        code = self.pos_embed()
        position = torch.cat([code, code], dim=-1)
        y = memories[0]
        for layer, memory in zip(self.decoder.layers, memories, strict=True):
            y = layer(y, memory, position)
        y = self.decoder.norm(y)
        if len(self.output_proj_list) == 1:
            rebuilt = self.output_proj_list[0](y)
        else:
            rebuilt = torch.stack([self.output_proj_list[c](y[row]) for row, c in enumerate(categories)])
        return rebuilt.transpose(1, 2).reshape(B, C, H, W)

    def forward(self, features: Tensor, categories: Sequence[int]) -> tuple[Tensor, Quantised]:
        """Reconstruct.

        Args:
            features: (B, C, h, w).
            categories: Index of each image's category.

        Returns:
            The reconstruction (B, C, h, w), and the result of the quantisation.
        """
        quantised = self.quantise(self.encode(features), categories)
        return self.decode(quantised.memories, categories, features.shape), quantised

    def transport(self, quantised: Quantised, categories: Sequence[int]) -> Tensor:
        """Transport costs (B, N) of all tokens to the shallowest quantised level's codebook; 0 if there is none."""
        if not self.levels:
            return torch.zeros(quantised.transported.shape[:2], device=quantised.transported.device)
        costs = [
            transport_cost(vectors, self.codebook(self.levels[0], category).embed)
            for vectors, category in zip(quantised.transported, categories, strict=True)
        ]
        return torch.stack(costs)
