"""Compares mobilekit's count of multiply-accumulates with fvcore's, over torchvision's models.

    pip install fvcore
    python scripts/macs_check.py [NAME...]

Each network is built without weights. fvcore counts the graph of `torch.jit.trace` by formulas of
its own. Convolutions and matrix products alone are compared; what fvcore says that it does not know
is listed. Exits with 1 where a count differs by more than `--within`.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator

import torch
import torchvision
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from mobilekit.model.macs import count_macs
from mobilekit.model.rewrite import ExactRewrites

SIZES = {"inception_v3": 299}
DETECTOR_SIZE = 320


class Parts(nn.Module):
    """What of a detector is a fixed graph: its backbone, and the heads over the feature maps.

    What follows selects boxes by their values, and multiplies nothing.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.backbone = detector.backbone
        self.head = detector.rpn.head if hasattr(detector, "rpn") else detector.head

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = list(self.backbone(image).values())
        return list(torch.utils._pytree.tree_leaves(self.head(maps)))


def networks(wanted: list[str]) -> Iterator[tuple[str, nn.Module, Tensor]]:
    for module in (None, torchvision.models.segmentation, torchvision.models.detection):
        names = torchvision.models.list_models(module or torchvision.models)
        for name in names:
            if wanted and name not in wanted:
                continue
            detects = module is torchvision.models.detection
            options = {"weights_backbone": None} if module is not None else {}
            network = torchvision.models.get_model(name, weights=None, **options).eval()
            size = DETECTOR_SIZE if detects else SIZES.get(name, 224)
            yield name, Parts(network) if detects else network, torch.zeros(1, 3, size, size)


def fvcore_macs(network: nn.Module, image: Tensor) -> tuple[int, str]:
    analysis = FlopCountAnalysis(network, image)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    counts = analysis.by_operator()
    products = {"conv", "linear", "matmul", "bmm", "addmm", "einsum"}
    unknown = [
        name
        for name in analysis.unsupported_ops()
        if any(word in name for word in ("attention", "deform", "lstm", "gru"))
    ]
    return int(sum(count for name, count in counts.items() if name in products)), ", ".join(unknown)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--within", type=float, default=0.01, help="relative [default: 0.01]")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    differing = 0
    for name, network, image in networks(arguments.names):
        with torch.no_grad(), ExactRewrites():
            ours = count_macs(torch.export.export(network, (image,)))
        theirs, unknown = fvcore_macs(network, image)
        difference = (ours - theirs) / theirs
        fails = abs(difference) > arguments.within and not unknown
        differing += fails
        note = f"fvcore does not know {unknown}" if unknown else "DIFFERS" if fails else ""
        print(f"{name:32} {ours:>16,} {theirs:>16,} {difference:+8.2%}  {note}", flush=True)
    return bool(differing)


if __name__ == "__main__":
    sys.exit(main())
