"""The mean of the weights over the later part of a training: stochastic weight averaging (Izmailov et al., UAI 2018).

Features for anomaly detection gain by it more than the classifier does: what the last steps do to tell the classes of
the pool apart blurs what none of them shows.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn


class Average:
    """The running mean of a network's weights, each step counting alike.

    Args:
        network: Whose weights.
    """

    def __init__(self, network: nn.Module) -> None:
        self._mean = AveragedModel(network)

    def add(self, network: nn.Module) -> None:
        """Take the weights as they are now into the mean."""
        self._mean.update_parameters(network)

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return self._mean.state_dict()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """As a checkpoint has it."""
        self._mean.load_state_dict(state)

    def network(self, batches: Iterable[Tensor]) -> nn.Module:
        """The network of the mean, with batch statistics of its own, which a mean of weights does not have.

        Args:
            batches: Of normalised images (B, 3, H, W).
        """
        update_bn(batches, self._mean.module)
        return self._mean.module.eval()
