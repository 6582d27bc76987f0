"""HVQ-Trans: reconstruct frozen features from a hierarchy of vector-quantised prototypes, with codebooks per category.

Lu et al., "Hierarchical Vector Quantized Transformer for Multi-class Unsupervised Anomaly Detection", NeurIPS 2023,
https://arxiv.org/abs/2310.14228; sizes and scoring follow the official code (its OT variant). UniAD's features (272
channels at 14x14); 1x1 convolution to 256; 4 encoder layers without a mask; each of the 5 token sets is quantised by
the codebook of its level and of the image's category, the lower four together with the quantised top; 4 decoder layers
of width 512 read the quantised levels, deepest first; one output layer per category. Loss: mean squared error +
0.25 * commitment. Score: norm of the error + 80 * transport cost of the lowest level's tokens to their codebook.

**Class-aware**: training uses category labels, and ``routing = given`` is told each test image's category, as the
released code does. ``routing = predicted`` takes the category from the frozen features by a logistic regression
fitted on the training images; both score one and the same fit.

Trainable parameters at the paper's sizes with 15 categories: 18,014,192, of which
 1x1 convolution and the unused ``input_proj`` 2 * (272*256 + 256), position tables 2 * 14*128,
 each encoder layer 4 * (256*256 + 256) + 2*256*1024 + 1024 + 256 + 2 * 512,
 each decoder layer 8 * (512*512 + 512) + 2*512*1024 + 1024 + 512 + 3 * 1024, final norm 1024,
 each output layer 512*272 + 272. Codes are buffers: nothing trains them by gradient.

Deviations: the backbone stays in eval mode (the released code leaves its batch norm and drop-connect in training mode,
which acts as hidden feature noise: that needs the backbone in the loop). Batch 32 follows from the released log (two
processes of 16). Routing and shared codebooks are this project's. With fewer than 5 ``levels`` the lowest are left
out, and the lowest one that is left serves the remaining decoder layers; that too is this project's definition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from methods.training.config import TrainingConfig
from methods.training.schedule import ScheduleName

Routing = Literal["given", "predicted"]
Sharing = Literal["per_category", "shared"]


@dataclass(frozen=True)
class HVQTransConfig(TrainingConfig):
    """Hyper-parameters; the defaults are the paper's.

    Attributes:
        image_size: Side of the input in pixels.
        strides: Taps of the backbone.
        width: D, width of the encoder; the decoder has twice that.
        heads: Attention heads.
        feedforward: Width of the feed-forward layers.
        layers: Encoder layers, and as many decoder layers.
        dropout: On attention weights, inside the feed-forward layers and on every residual branch.
        levels: Quantised levels, from the encoder's output downwards: 5 all (the paper), 1 the output alone, 0 none.
        codes: Codes per codebook.
        codebooks: One set of codebooks ``per_category`` (the paper), or one ``shared`` by all.
        experts: Output layer per category, or shared.
        cluster_size: What the codes' moving cluster sizes start from; see ``methods.hvq_trans.codebook.Codebook``.
        commitment: Weight of the commitment loss.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        schedule: ``step`` drops the rate tenfold after 80 % of the training.
        clip: Largest norm of the gradient.
        routing: Where a test image's category comes from: it is ``given``, or ``predicted`` from its features.
        ot_weight: Weight of the transport cost in the anomaly map.
        score_window: Side in pixels of the mean filter before the maximum that is the image score.
    """

    image_size: int = 224
    strides: tuple[int, ...] = (2, 4, 8, 16)
    width: int = 256
    heads: int = 8
    feedforward: int = 1024
    layers: int = 4
    dropout: float = 0.1
    levels: int = 5
    codes: int = 512
    codebooks: Sharing = "per_category"
    experts: Sharing = "per_category"
    cluster_size: float = 0.0
    commitment: float = 0.25
    epochs: int = 1000
    batch_size: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    schedule: ScheduleName = "step"
    clip: float = 0.1
    routing: Routing = field(default="given", metadata={"score": True})
    ot_weight: float = field(default=80.0, metadata={"score": True})
    score_window: int = field(default=16, metadata={"score": True})

    @property
    def grid(self) -> int:
        """Side of the token grid: the deepest tap's."""
        return self.image_size // max(self.strides)

    @property
    def class_agnostic(self) -> bool:
        """Nothing in the detector depends on the category."""
        return self.experts == "shared" and (self.codebooks == "shared" or self.levels == 0)
