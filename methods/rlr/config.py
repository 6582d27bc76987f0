"""The hyper-parameters of RLR, which ``methods/rlr/detector.py`` describes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from methods.training.config import TrainingConfig


@dataclass(frozen=True)
class RLRConfig(TrainingConfig):
    """Hyper-parameters; the defaults are the paper's.

    Attributes:
        image_size: Side of the input in pixels.
        strides: Taps of the backbone; each is a level that has its own network.
        widths: D of each level, 32 times its stride in the paper (stride 4 would have 128).
        windows: Side in tokens of each level's local window: 5 on 16x16, 7 on 32x32, 11 on 64x64 in the paper.
        heads: Attention heads.
        layers: Number of blocks of each network.
        mlp_ratio: Width of the feed-forward layers, divided by D.
        dropout: Dropout probability on embeddings, attention weights, attention outputs and feed-forward outputs.
        attention: Attentions of a block: ``both`` LCA and MLKA (the paper), one of them (``lca``, ``mlka``), or
            ``plain`` self-attention of the image without reference and mask. None of them has a residual path.
        gates: Weights of LCA and MLKA in each block: 2 and 1 (``none``, the paper), two learned numbers per block
            (``scalar``), or a small softmax network on the mean and maximum of the block's tokens (``network``).
        reference_length: Number of stacked references.
        reference_penalty: Weight of the references' mutual cosine similarity in the loss; 0 for none.
        jitter_scale: Strength alpha of the feature jitter: noise of standard deviation alpha * norm / C per token.
        jitter_probability: Probability that a token is jittered.
        mask_probability: Share of each image's tokens that is set to zero in training instead of jitter; 0 for jitter.
        cosine_weight: Weight of 1 - cosine similarity in the loss; the squared error has weight 1. In the score both
            have weight 1.
        update: ``summed`` makes one update with the sum of the levels' losses (the paper); ``per_level`` makes an
            update after each level's loss (the official code).
        steps: Presented batches; 0 counts epochs instead.
        batch_size: Images per batch.
        learning_rate: Learning rate of Adam.
        weight_decay: Weight decay of AdamW; with 0 it is Adam.
        clip: Largest norm of the gradient; 0 for no clipping.
        standardise: Whether every channel of the features is standardised by its mean and standard deviation over the
            training images (an addition of this project).
        smoothing_sigma: Standard deviation in pixels of the Gaussian before the maximum that is the image score; 0
            for no smoothing.
    """

    image_size: int = 256
    strides: tuple[int, ...] = (8, 16)
    widths: tuple[int, ...] = (256, 512)
    windows: tuple[int, ...] = (7, 5)
    heads: int = 8
    layers: int = 4
    mlp_ratio: int = 4
    dropout: float = 0.0
    attention: Literal["both", "lca", "mlka", "plain"] = "both"
    gates: Literal["none", "scalar", "network"] = "none"
    reference_length: int = 1
    reference_penalty: float = 0.0
    jitter_scale: float = 4.0
    jitter_probability: float = 1.0
    mask_probability: float = 0.0
    cosine_weight: float = 1.0
    update: Literal["summed", "per_level"] = "summed"
    epochs: int = 200
    batch_size: int = 4
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    clip: float = 0.0
    standardise: bool = field(default=False, metadata={"added": True})
    smoothing_sigma: float = field(default=4.0, metadata={"score": True})
