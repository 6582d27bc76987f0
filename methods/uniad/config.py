"""UniAD: reconstruct frozen features with a layer-wise query decoder and neighbour-masked attention.

You et al., "A Unified Model for Multi-class Anomaly Detection", NeurIPS 2022, https://arxiv.org/abs/2206.03687.
Sizes, initialisation and schedule follow the official code; every factor that the paper ablates is a field.

Four stages of EfficientNet-b4 at 224 px, brought to 14x14 and concatenated (272 channels): 196 tokens; linear
272 -> 256; 4 encoder and 4 decoder layers, post-norm, 8 heads, feed-forward 1024; linear 256 -> 272; mean
squared error against the clean features. Trainable parameters at these sizes: 7,717,392, of which
 in/out projection 272*256 + 256 + 256*272 + 272, position tables 2 * 14*128,
 each encoder layer 4 * (256*256 + 256) + 2*256*1024 + 1024 + 256 + 2 * 512,
 each decoder layer 8 * (256*256 + 256) + 2*256*1024 + 1024 + 256 + 3 * 512 + 196*256, final norm 512.

Deviations: images are resized by Pillow bilinear on uint8 and pass timm's ``tf_efficientnet_b4``, whose "same"
padding differs from the official backbone's at one convolution (a shift of one sample at stride 4). Dropout
masks come from 16 random bits an element. Seeds are set once per run. On CIFAR-10 the paper adds a fifth stage
(stride 32, 720 channels in all); backbones are cut at stride 16 here.
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
        dropout: On attention weights, inside the feed-forward layers and on every residual branch.
        query: Learned query tables: in every decoder layer (``all``, the paper), in the first only (``first``;
            later layers start from the previous output), or nowhere (``none``: the first starts from the encoder).
        mask_encoder: Neighbour mask in the encoder's self-attention.
        mask_decoder_cross: Neighbour mask in the decoder's attention to the encoder output.
        mask_decoder_self: Neighbour mask in the decoder's attention to the previous layer's output.
        neighbour_size: Side of the hidden window in tokens.
        jitter_scale: Strength alpha of the feature jitter: noise of standard deviation alpha * norm / C per token.
        jitter_probability: Probability that a batch is jittered.
        position: ``learned`` row and column tables, or ``sine``.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        schedule: ``step`` drops the rate tenfold after 80 % of the training.
        clip: Largest norm of the gradient.
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
    score_window: int = field(default=16, metadata={"score": True})

    @property
    def grid(self) -> int:
        """Side of the token grid: the deepest tap's."""
        return self.image_size // max(self.strides)
