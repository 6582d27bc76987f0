"""The mean of the weights over the later part of a training: stochastic weight averaging (Izmailov et al., UAI 2018).

It improves the features for anomaly detection more than the classifier: the last steps separate the classes of the pool
better, but they blur what no class shows.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn


class Average:
    """The running mean of a network's weights, in which all steps have equal weight.

    Args:
        network: The network whose weights are averaged.
    """

    def __init__(self, network: nn.Module) -> None:
        self._mean = AveragedModel(network)

    def add(self, network: nn.Module) -> None:
        """Add the present weights to the mean."""
        self._mean.update_parameters(network)

    def state(self) -> dict[str, Tensor]:
        """The state for a checkpoint."""
        return self._mean.state_dict()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore the state of a checkpoint."""
        self._mean.load_state_dict(state)

    def network(self, batches: Iterable[Tensor]) -> nn.Module:
        """The network with the mean weights. Its batch statistics are measured, since an average does not have them.

        Args:
            batches: Batches of normalised images (B, 3, H, W) on which the statistics are measured.
        """
        update_bn(batches, self._mean.module)
        return self._mean.module.eval()
