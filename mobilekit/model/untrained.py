"""Weights for a network that nobody has trained. Imports torch.

The networks of ``models`` call this. What it gives is part of their artifacts, which the content
hash of a model file does not see: a change here is a change of ``export.EXPORT_VERSION``.
"""

from __future__ import annotations

from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def draw_weights(network: Network) -> Network:
    """Draw the weights of every convolution and linear layer, zero their biases; the same network.

    Untrained, the output must still depend on the input, or comparing outputs would mean little.
    Filters that sum to zero drop the common mean that ReLU adds, and this scale keeps the rest:
    a rectified standard normal has the variance 0.5 - 1 / (2 pi) = 0.341 = 1 / 1.71**2.
    Layers of other kinds keep what they have.
    """
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            weight = layer.weight.detach()
            fan_in = weight[0].numel()
            nn.init.normal_(weight, std=1.71 / fan_in**0.5)
            weight -= weight.mean(tuple(range(1, weight.dim())), keepdim=True)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
