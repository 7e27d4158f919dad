# ruff: noqa
"""A single-shot detector in the manner of torchvision's SSDLite: a MobileNet v2 trunk, a pyramid
with nearest upsampling, and heads whose boxes are decoded against fixed anchors."""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNormActivation(nn.Sequential):
    def __init__(self, inp, oup, kernel=3, stride=1, groups=1, activation=nn.ReLU6):
        layers = [
            nn.Conv2d(inp, oup, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
            nn.BatchNorm2d(oup),
        ]
        if activation is not None:
            layers.append(activation(inplace=True))
        super().__init__(*layers)


class InvertedResidual(nn.Module):
    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: int) -> None:
        super().__init__()
        hidden = int(round(inp * expand_ratio))
        self.use_res_connect = stride == 1 and inp == oup
        layers = []
        if expand_ratio != 1:
            layers.append(ConvNormActivation(inp, hidden, 1))
        layers.extend(
            [
                ConvNormActivation(hidden, hidden, 3, stride, groups=hidden),
                ConvNormActivation(hidden, oup, 1, activation=None),
            ]
        )
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class FeaturePyramid(nn.Module):
    def __init__(self, widths, out):
        super().__init__()
        self.inner_blocks = nn.ModuleList(nn.Conv2d(w, out, 1) for w in widths)
        self.layer_blocks = nn.ModuleList(nn.Conv2d(out, out, 3, padding=1) for _ in widths)

    def forward(self, x: "OrderedDict[str, Tensor]") -> "OrderedDict[str, Tensor]":
        names, maps = list(x.keys()), list(x.values())
        last = self.inner_blocks[-1](maps[-1])
        results = [self.layer_blocks[-1](last)]
        for idx in range(len(maps) - 2, -1, -1):
            lateral = self.inner_blocks[idx](maps[idx])
            last = lateral + F.interpolate(last, size=lateral.shape[-2:], mode="nearest")
            results.insert(0, self.layer_blocks[idx](last))
        return OrderedDict(zip(names, results))


class AnchorGenerator(nn.Module):
    def __init__(self, sizes=(0.1, 0.3), ratios=(0.5, 1.0, 2.0)):
        super().__init__()
        self.sizes, self.ratios = sizes, ratios

    def forward(self, maps):
        boxes = []
        for size, each in zip(self.sizes, maps):
            h, w = each.shape[-2:]
            y, x = torch.meshgrid(
                (torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing="ij"
            )
            for ratio in self.ratios:
                s = math.sqrt(ratio)
                whole = torch.ones_like(x)
                boxes.append(
                    torch.stack((x, y, whole * size * s, whole * size / s), -1).reshape(-1, 4)
                )
        return torch.cat(boxes)


class Head(nn.Module):
    def __init__(self, width, anchors, columns):
        super().__init__()
        self.columns = columns
        self.conv = nn.Sequential(
            ConvNormActivation(width, width, 3, groups=width),
            nn.Conv2d(width, anchors * columns, 1),
        )

    def forward(self, maps):
        results = []
        for each in maps:
            out = self.conv(each)
            n, _, h, w = out.shape
            out = out.view(n, -1, self.columns, h, w).permute(0, 1, 3, 4, 2)
            results.append(out.reshape(n, -1, self.columns))
        return torch.cat(results, dim=1)


class Detector(nn.Module):
    def __init__(self, num_classes: int = 5, width_mult: float = 0.5):
        super().__init__()
        w = [int(c * width_mult) for c in (16, 24, 32, 64)]
        self.stem = ConvNormActivation(3, w[0], stride=2)
        self.stage1 = nn.Sequential(
            InvertedResidual(w[0], w[1], 2, 6), InvertedResidual(w[1], w[1], 1, 6)
        )
        self.stage2 = InvertedResidual(w[1], w[2], 2, 6)
        self.stage3 = InvertedResidual(w[2], w[3], 2, 6)
        self.fpn = FeaturePyramid([w[2], w[3]], 32)
        self.anchors = AnchorGenerator()
        self.classification_head = Head(32, 3, num_classes)
        self.regression_head = Head(32, 3, 4)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out")
                if m.bias is not None:
                    nn.init.zeros_(m.bias)

    def forward(self, images: Tensor):
        x = self.stage1(self.stem(images))
        c3 = self.stage2(x)
        c4 = self.stage3(c3)
        maps = list(self.fpn(OrderedDict([("0", c3), ("1", c4)])).values())
        anchors = self.anchors(maps)
        deltas = self.regression_head(maps)
        centers = anchors[:, :2] + deltas[..., :2] * 0.1 * anchors[:, 2:]
        sizes = anchors[:, 2:] * torch.exp((deltas[..., 2:] * 0.2).clamp(max=4.0))
        boxes = torch.cat((centers - sizes / 2, centers + sizes / 2), dim=-1)
        scores = F.softmax(self.classification_head(maps), dim=-1)
        return {"boxes": boxes, "scores": scores}
