"""The hyper-parameters of UniAD, which ``methods/uniad/detector.py`` describes.

Every factor that the paper ablates is a field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from methods.training.config import TrainingConfig
from methods.training.schedule import ScheduleName

Query = Literal["none", "first", "all"]


@dataclass(frozen=True)
class UniADConfig(TrainingConfig):
    """Hyper-parameters; the defaults are the paper's.

    Attributes:
        image_size: Side of the input in pixels.
        strides: Taps of the backbone.
        width: D, width of the tokens.
        heads: Attention heads.
        feedforward: Width of the feed-forward layers.
        encoder_layers: Number of encoder layers.
        decoder_layers: Number of decoder layers.
        dropout: Dropout probability on attention weights, inside the feed-forward layers and on residual branches.
        query: Learned query tables: in every decoder layer (``all``, the paper), only in the first (``first``; later
            layers start from the previous output), or in none (``none``; the first starts from the encoder output).
        mask_encoder: Neighbour mask in the encoder's self-attention.
        mask_decoder_cross: Neighbour mask in the decoder's attention to the encoder output.
        mask_decoder_self: Neighbour mask in the decoder's attention to the previous layer's output.
        neighbour_size: Side of the hidden window in tokens.
        jitter_scale: Strength alpha of the feature jitter: noise of standard deviation alpha * norm / C per token.
        jitter_probability: Probability that a batch is jittered.
        position: ``learned`` row and column tables, or ``sine``.
        learning_rate: Learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        schedule: Schedule of the learning rate; ``step`` divides it by 10 after 80 % of the training.
        clip: Largest norm of the gradient.
        standardise: Whether every channel of the features is standardised by its mean and standard deviation over the
            training images (an addition of this project).
        score_window: Side in pixels of the mean filter before the maximum that is the image score.
    """

    image_size: int = 224
    strides: tuple[int, ...] = (2, 4, 8, 16)
    width: int = 256
    heads: int = 8
    feedforward: int = 1024
    encoder_layers: int = 4
    decoder_layers: int = 4
    dropout: float = 0.1
    query: Query = "all"
    mask_encoder: bool = True
    mask_decoder_cross: bool = True
    mask_decoder_self: bool = True
    neighbour_size: int = 7
    jitter_scale: float = 20.0
    jitter_probability: float = 1.0
    position: Literal["learned", "sine"] = "learned"
    epochs: int = 1000
    batch_size: int = 64
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    schedule: ScheduleName = "step"
    clip: float = 0.1
    standardise: bool = field(default=False, metadata={"added": True})
    score_window: int = field(default=16, metadata={"score": True})

    @property
    def grid(self) -> int:
        """Side of the token grid, which is the grid of the deepest tap."""
        return self.image_size // max(self.strides)
