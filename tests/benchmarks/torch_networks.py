"""ResNet50 and EfficientNetB7 of keras.applications, in PyTorch.

Run by `pruning_speed.py` with a Python that has torch and torch-pruning. The
numbers of trainable parameters are those of Keras, which the table shows.
"""

import importlib.metadata
import math

import torch
import torch_pruning
from pruning_speed import FRACTION, serve
from torch import nn

# Filters, blocks, kernel, stride, expansion of EfficientNetB0, table 1 of
# Tan and Le, https://arxiv.org/abs/1905.11946.
STAGES = (
    (16, 1, 3, 1, 1),
    (24, 2, 3, 2, 6),
    (40, 2, 5, 2, 6),
    (80, 3, 3, 2, 6),
    (112, 3, 5, 1, 6),
    (192, 4, 5, 2, 6),
    (320, 1, 3, 1, 6),
)
B7_WIDTH, B7_DEPTH = 2, 3.1


def convolution(read, filters, kernel, stride=1, groups=1, bias=False):
    return nn.Conv2d(
        read, filters, kernel, stride, kernel // 2, groups=groups, bias=bias
    )


class Bottleneck(nn.Module):
    def __init__(self, read, filters, stride, project):
        super().__init__()
        self.body = nn.Sequential(
            convolution(read, filters, 1, stride, bias=True),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            convolution(filters, filters, 3, bias=True),
            nn.BatchNorm2d(filters),
            nn.ReLU(),
            convolution(filters, 4 * filters, 1, bias=True),
            nn.BatchNorm2d(4 * filters),
        )
        self.shortcut = nn.Identity()
        if project:
            self.shortcut = nn.Sequential(
                convolution(read, 4 * filters, 1, stride, bias=True),
                nn.BatchNorm2d(4 * filters),
            )

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet50():
    parts = [
        convolution(3, 64, 7, 2, bias=True),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    read = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        filters = 64 * 2**stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            parts.append(Bottleneck(read, filters, stride, not block))
            read = 4 * filters
    return nn.Sequential(*parts, *head(read))


class InvertedResidual(nn.Module):
    def __init__(self, read, filters, kernel, stride, expansion):
        super().__init__()
        wide = read * expansion
        self.expand = nn.Identity()
        if expansion > 1:
            self.expand = nn.Sequential(
                convolution(read, wide, 1), nn.BatchNorm2d(wide), nn.SiLU()
            )
        self.depthwise = nn.Sequential(
            convolution(wide, wide, kernel, stride, groups=wide),
            nn.BatchNorm2d(wide),
            nn.SiLU(),
        )
        squeezed = max(1, read // 4)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            convolution(wide, squeezed, 1, bias=True),
            nn.SiLU(),
            convolution(squeezed, wide, 1, bias=True),
            nn.Sigmoid(),
        )
        self.project = nn.Sequential(
            convolution(wide, filters, 1), nn.BatchNorm2d(filters)
        )
        self.adds = stride == 1 and read == filters

    def forward(self, x):
        y = self.depthwise(self.expand(x))
        y = self.project(y * self.gate(y))
        return x + y if self.adds else y


def efficientnet_b7():
    read = B7_WIDTH * 32
    parts = [convolution(3, read, 3, 2), nn.BatchNorm2d(read), nn.SiLU()]
    for filters, blocks, kernel, stride, expansion in STAGES:
        for block in range(math.ceil(blocks * B7_DEPTH)):
            parts.append(
                InvertedResidual(
                    read,
                    B7_WIDTH * filters,
                    kernel,
                    1 if block else stride,
                    expansion,
                )
            )
            read = B7_WIDTH * filters
    last = B7_WIDTH * 1280
    parts += [convolution(read, last, 1), nn.BatchNorm2d(last), nn.SiLU()]
    return nn.Sequential(*parts, *head(last))


def head(read):
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(read, 1000)


BUILDERS = {"ResNet50": resnet50, "EfficientNetB7": efficientnet_b7}


def build(name, size):
    return BUILDERS[name]().eval(), torch.zeros(1, 3, size, size)


def prune(network):
    model, picture = network
    torch_pruning.pruner.BasePruner(
        model,
        picture,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=1),
        pruning_ratio=FRACTION,
        ignored_layers=[model[-1]],
    ).step()
    return network


def count(network):
    return sum(weight.numel() for weight in network[0].parameters())


if __name__ == "__main__":
    versions = (
        f"{name} {importlib.metadata.version(name)}"
        for name in ("torch-pruning", "torch")
    )
    serve(build, prune, count, ", ".join(versions))
