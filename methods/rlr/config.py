"""RLR: reconstruct frozen features from a learnable reference, one network per feature level.

He et al., "Learning Unified Reference Representation for Unsupervised Multi-class Anomaly Detection", ECCV 2024,
https://arxiv.org/abs/2403.11561. Sizes, initialisation and schedule follow the official code; the network and
what the official code decides in it stand in ``methods/rlr/network.py``.

Two stages of EfficientNet-b6 at 256 px (72 channels on 32x32, 200 on 16x16), each smoothed by a mean over 3x3
places. A level of stride s has width D = 32 s and N = (256 / s)^2 tokens of C channels; 4 blocks, 8 heads,
feed-forward 4 D. Trainable parameters of a level, of which
 reference N C, two embeddings 2 * (C D + D), final norm 2 D, projection D C + C,
 each block 2 * (4 D^2 + 4 D) for two attentions, 8 D^2 + 5 D for the feed-forward, 4 D for two norms.
That is 4,341,832 at stride 8 and 17,172,680 at stride 16: 21,514,512 together.

Published training: Adam, one optimiser for all levels. The paper sums the levels' losses (``paper``); the official
code makes an update after each level's loss and, with the torch of its day, gradients of the other levels are
zeros then, not absent: they move by their momentum (``official``).

Deviations: images are resized by Pillow bilinear on uint8. Where ``jitter_probability`` is below 1, every token is
drawn for itself, where the official code jitters an exact share of each image's tokens. Seeds are set once per run.
The last epoch counts, where the official code keeps the best one on the test images.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from methods.training.config import TrainingConfig


@dataclass(frozen=True)
class RLRConfig(TrainingConfig):
    """Hyper-parameters; the defaults are the paper's.

    Attributes:
        image_size: Side of the input in pixels.
        strides: Taps of the backbone; each is a level with a network of its own.
        widths: D of each level, 32 times its stride in the paper (stride 4 would have 128).
        windows: Side in tokens of each level's local window: 5 on 16x16, 7 on 32x32, 11 on 64x64 in the paper.
        heads: Attention heads.
        layers: Blocks of each network.
        mlp_ratio: Width of the feed-forward layers over D.
        dropout: On embeddings, attention weights, attention outputs and feed-forward outputs.
        attention: ``both`` LCA and MLKA (the paper), one of them (``lca``, ``mlka``), or ``plain`` self-attention of
            the image without reference and mask; no residual path around it in any case.
        gates: Weights of LCA and MLKA in each block: 2 and 1 (``none``, the paper), two learned numbers per block
            (``scalar``), or a small softmax network on the mean and maximum of the block's tokens (``network``).
        reference_length: Number of stacked references.
        reference_penalty: Weight of the references' mutual cosine similarity in the loss; 0 for none.
        jitter_scale: Strength alpha of the feature jitter: noise of standard deviation alpha * norm / C per token.
        jitter_probability: Probability that a token is jittered.
        mask_probability: Share of each image's tokens that is set to zero in training, in place of the jitter; 0
            for jitter.
        cosine_weight: Weight of 1 - cosine similarity beside the squared error in the loss (in the score it is 1).
        update: ``summed`` losses of the levels and one update (the paper), or an update after each level's loss
            (``per_level``, the official code).
        steps: Presented batches; 0 counts epochs.
        batch_size: Images per batch.
        learning_rate: Of Adam.
        weight_decay: Of AdamW; 0 makes it Adam.
        clip: Largest norm of the gradient; 0 for none.
        smoothing_sigma: Standard deviation in pixels of the Gaussian before the maximum that is the image score; 0
            for none.
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
    smoothing_sigma: float = field(default=4.0, metadata={"score": True})
