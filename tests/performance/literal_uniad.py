"""UniAD's training step as its paper and released code describe it, with torch's own layers and no optimisation.

The other side of the row ``uniad-step``. Tokens are sequence first; every attention is ``nn.MultiheadAttention``, which
also computes the weights averaged over heads; the neighbour mask is built position by position at every forward pass;
the query tables are repeated for every image; jitter is drawn for the whole batch; gradients are clipped; AdamW.
Parameters have the names of the released checkpoints, so that a state of ``methods.uniad`` can be loaded.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.uniad.config import UniADConfig

Draw = Callable[[Tensor], Tensor]


class _Layer(nn.Module):
    """The feed-forward part, which encoder and decoder layers have in common."""

    def __init__(self, config: UniADConfig) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(config.width, config.heads, dropout=config.dropout)
        self.linear1 = nn.Linear(config.width, config.feedforward)
        self.dropout = nn.Dropout(config.dropout)
        self.linear2 = nn.Linear(config.feedforward, config.width)
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.dropout1, self.dropout2 = nn.Dropout(config.dropout), nn.Dropout(config.dropout)

    def feed_forward(self, x: Tensor) -> Tensor:
        """(N, B, D) to (N, B, D)."""
        return self.linear2(self.dropout(F.relu(self.linear1(x))))


class _EncoderLayer(_Layer):
    """Neighbour-masked self-attention and feed-forward."""

    def forward(self, x: Tensor, mask: Tensor, position: Tensor) -> Tensor:
        """(N, B, D) tokens to (N, B, D)."""
        asking = x + position
        x = self.norm1(x + self.dropout1(self.self_attn(asking, asking, value=x, attn_mask=mask)[0]))
        return self.norm2(x + self.dropout2(self.feed_forward(x)))


class _DecoderLayer(_Layer):
    """The learned query attends to the encoder's output, then to the output of the layer before."""

    def __init__(self, config: UniADConfig) -> None:
        super().__init__(config)
        self.learned_embed = nn.Embedding(config.grid**2, config.width)
        self.multihead_attn = nn.MultiheadAttention(config.width, config.heads, dropout=config.dropout)
        self.norm3, self.dropout3 = nn.LayerNorm(config.width), nn.Dropout(config.dropout)

    def forward(self, out: Tensor, memory: Tensor, mask: Tensor, position: Tensor) -> Tensor:
        """(N, B, D) output of the layer before and of the encoder to (N, B, D)."""
        query = self.learned_embed.weight.unsqueeze(1).expand(-1, out.shape[1], -1)
        asked = self.self_attn(query + position, memory + position, value=memory, attn_mask=mask)[0]
        t = self.norm1(query + self.dropout1(asked))
        asked = self.multihead_attn(t + position, out + position, value=out, attn_mask=mask)[0]
        t = self.norm2(t + self.dropout2(asked))
        return self.norm3(t + self.dropout3(self.feed_forward(t)))


class LiteralUniAD(nn.Module):
    """The network.

    Args:
        config: Sizes; every ablation switch as the paper has it (queries in all layers, all three masks).
        channels: Channels of the features.
        draw: Gives the standard normal numbers of the jitter for tokens (N, B, C); a test passes its own function.
    """

    def __init__(self, config: UniADConfig, channels: int, draw: Draw = torch.randn_like) -> None:
        super().__init__()
        self.config, self.draw = config, draw
        self.pos_embed = nn.Module()
        self.pos_embed.row_embed = nn.Embedding(config.grid, config.width // 2)
        self.pos_embed.col_embed = nn.Embedding(config.grid, config.width // 2)
        self.transformer = nn.Module()
        self.transformer.encoder, self.transformer.decoder = nn.Module(), nn.Module()
        self.transformer.encoder.layers = nn.ModuleList(_EncoderLayer(config) for _ in range(config.encoder_layers))
        self.transformer.decoder.layers = nn.ModuleList(_DecoderLayer(config) for _ in range(config.decoder_layers))
        self.transformer.decoder.norm = nn.LayerNorm(config.width)
        self.input_proj = nn.Linear(channels, config.width)
        self.output_proj = nn.Linear(config.width, channels)

    def mask(self) -> Tensor:
        """(N, N): -inf where a token would see its own neighbourhood."""
        grid, reach = self.config.grid, self.config.neighbour_size // 2
        visible = torch.ones(grid, grid, grid, grid)
        for row in range(grid):
            for column in range(grid):
                rows = slice(max(row - reach, 0), row + reach + 1)
                columns = slice(max(column - reach, 0), column + reach + 1)
                visible[row, column, rows, columns] = 0.0
        visible = visible.view(grid**2, grid**2)
        return torch.zeros_like(visible).masked_fill(visible == 0, float("-inf"))

    def position(self) -> Tensor:
        """(N, 1, D) position embedding."""
        grid = self.config.grid
        places = torch.arange(grid)
        columns, rows = self.pos_embed.col_embed(places), self.pos_embed.row_embed(places)
        both = torch.cat([columns.repeat(grid, 1, 1), rows.unsqueeze(1).repeat(1, grid, 1)], dim=-1)
        return both.flatten(0, 1).unsqueeze(1)

    def jittered(self, tokens: Tensor) -> Tensor:
        """(N, B, C) tokens with noise of the size that the paper gives."""
        if float(torch.rand(())) >= self.config.jitter_probability:
            return tokens
        norms = tokens.norm(dim=2, keepdim=True) / tokens.shape[2]
        return tokens + self.draw(tokens) * norms * self.config.jitter_scale

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) clean features to their reconstruction from jittered ones."""
        tokens = features.flatten(2).permute(2, 0, 1)
        if self.training:
            tokens = self.jittered(tokens)
        x, mask = self.input_proj(tokens), self.mask()
        position = self.position().repeat(1, x.shape[1], 1)
        for layer in self.transformer.encoder.layers:
            x = layer(x, mask, position)
        memory = x
        for layer in self.transformer.decoder.layers:
            x = layer(x, memory, mask, position)
        rebuilt = self.output_proj(self.transformer.decoder.norm(x))
        return rebuilt.permute(1, 2, 0).reshape(features.shape)


class LiteralTraining:
    """One training step on a batch of clean features.

    Args:
        network: The network to train; it is put into training mode.
        config: Learning rate, weight decay and clipping.
    """

    def __init__(self, network: LiteralUniAD, config: UniADConfig) -> None:
        self.network = network.train()
        self.clip = config.clip
        self.optimiser = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, betas=(0.9, 0.999), weight_decay=config.weight_decay
        )

    def step(self, features: Tensor) -> float:
        """Train on (B, C, h, w) features; returns the loss before the update."""
        loss = F.mse_loss(self.network(features), features)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimiser.step()
        return float(loss.detach())
