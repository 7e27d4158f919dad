"""AlexNet as Caffe published it: grouped convolutions, normalization before pooling."""

from torch import nn

TITLE = "AlexNet (Caffe's bvlc_alexnet)"
SOURCE = (
    "A. Krizhevsky, I. Sutskever, G. Hinton, NIPS 2012; Caffe, models/bvlc_alexnet/deploy.prototxt"
)
LICENSE = "BSD-2-Clause"
INPUT_SHAPES = ((1, 3, 227, 227),)


def build() -> nn.Module:
    network = nn.Sequential(
        nn.Conv2d(3, 96, 11, stride=4),
        nn.ReLU(),
        nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2),
        nn.ReLU(),
        nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(256, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Flatten(),
        nn.Linear(256 * 6 * 6, 4096),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(4096, 1000),
        nn.Softmax(dim=1),
    )
    # Untrained, the output must still depend on the input, or comparing outputs would mean little.
    # Filters that sum to zero drop the common mean that ReLU adds, and this scale keeps the rest:
    # a rectified standard normal has the variance 0.5 - 1 / (2 pi) = 0.341 = 1 / 1.71**2.
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            weight = layer.weight.detach()
            fan_in = weight[0].numel()
            nn.init.normal_(weight, std=1.71 / fan_in**0.5)
            weight -= weight.mean(tuple(range(1, weight.dim())), keepdim=True)
            nn.init.zeros_(layer.bias)
    return network
