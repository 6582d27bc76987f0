"""A classifier of images by category from frozen features, for detectors that need a category at test time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.detector import TrainingSet

_CHUNK = 64


class CategoryRouter(nn.Module):
    """Multinomial logistic regression on the mean and the standard deviation over positions of every channel.

    Args:
        channels: C of the feature map; the classifier reads 2 C numbers.
        categories: Number of categories.
    """

    centre: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, channels: int, categories: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(2 * channels))
        self.register_buffer("scale", torch.ones(2 * channels))
        self.register_buffer("weight", torch.zeros(categories, 2 * channels))
        self.register_buffer("bias", torch.zeros(categories))

    def fit(self, train: TrainingSet, categories: Sequence[str]) -> None:
        """Fit on the training images in one pass.

        Args:
            train: Training set whose batches have one (B, C, h, w) feature map and categories.
            categories: Names of the categories in the order of the classifier's outputs.
        """
        described: list[Tensor] = []
        labels: list[int] = []
        for start in range(0, len(train), _CHUNK):
            batch = train.batch(range(start, min(start + _CHUNK, len(train))))
            described.append(self.describe(batch.features[0].cpu()))
            labels.extend(categories.index(name) for name in batch.categories or ())
        inputs = torch.cat(described).double()
        centre, scale = inputs.mean(dim=0), inputs.std(dim=0, correction=0).clamp_min(1e-6)
        self.centre.copy_(centre)
        self.scale.copy_(scale)
        if len(set(labels)) < 2:
            return
        from sklearn.linear_model import LogisticRegression  # the import takes a second, and few detectors need it

        found = LogisticRegression(max_iter=1000).fit(((inputs - centre) / scale).numpy(), labels)
        weight, bias = torch.from_numpy(found.coef_), torch.from_numpy(found.intercept_)
        if len(weight) == 1:  # for two classes, scikit-learn has only the logit of the second
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        for row, label in enumerate(found.classes_):
            self.weight[label] = weight[row]
            self.bias[label] = bias[row]

    @property
    def fitted(self) -> bool:
        """Whether it was fitted on several categories."""
        return bool(self.weight.any())

    def forward(self, features: Tensor) -> Tensor:
        """Indices (B,) of the categories predicted for features (B, C, h, w)."""
        inputs = (self.describe(features) - self.centre) / self.scale
        return (inputs @ self.weight.t() + self.bias).argmax(dim=1)

    @staticmethod
    def describe(features: Tensor) -> Tensor:
        """Mean and standard deviation over positions (B, 2 C) of features (B, C, h, w)."""
        tokens = features.flatten(2)
        return torch.cat([tokens.mean(dim=2), tokens.std(dim=2, correction=0)], dim=1)
