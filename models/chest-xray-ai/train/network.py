"""The network: 224x224 grey in, one score out. Small enough to read, and to run in milliseconds on one core."""

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Residual block of two 3x3 convolutions (He et al. 2016), the first with stride 2."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)

    def forward(self, x):
        y = F.relu(self.norm1(self.first(x)))
        return F.relu(self.norm2(self.second(y)) + self.norm3(self.skip(x)))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 24, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(24)
        self.blocks = nn.Sequential(Block(24, 32), Block(32, 64), Block(64, 128))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(128, 1)

    def half(self, x):
        """224 -> 112 by averaging: finer detail than this is JPEG noise of the training copies."""
        return F.avg_pool2d(x, 2)

    def logit(self, x):
        """From 112x112. The image's own brightness and contrast are taken out first: they are part of the shortcut."""
        x = x - x.mean(dim=(1, 2, 3), keepdim=True)
        x = x / torch.sqrt((x * x).mean(dim=(1, 2, 3), keepdim=True) + 1e-4)
        x = self.blocks(F.relu(self.norm(self.stem(x))))
        return self.head(self.drop(x.mean(dim=(2, 3))))

    def forward(self, x):
        return torch.sigmoid(self.logit(self.half(x)))
