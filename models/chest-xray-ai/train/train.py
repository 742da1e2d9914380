"""Trains the paediatric pneumonia reference model and writes model.onnx. See README.md for the command and the time."""

import argparse
import math
import time
from pathlib import Path

import torch
from torch.nn import functional as F

from constants import MEAN, STD
from data import load
from network import Network

EPOCHS, BATCH, PEAK_LR, WEIGHT_DECAY = 24, 64, 2e-3, 0.02


def augment(x: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """x [N, 1, 112, 112]. Shift, zoom, tilt; brightness, contrast, gamma; erased borders and patches.

    Aimed at what differs between the two upstream series without being anatomy: framing, exposure, labels at the edge.
    """
    n = len(x)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, generator=random)

    angle, zoom_x, zoom_y = uniform(-0.12, 0.12), uniform(0.80, 1.10), uniform(0.80, 1.10)
    rows = torch.stack(
        [
            torch.stack([zoom_x * angle.cos(), -zoom_y * angle.sin(), uniform(-0.12, 0.12)], 1),
            torch.stack([zoom_x * angle.sin(), zoom_y * angle.cos(), uniform(-0.12, 0.12)], 1),
        ],
        1,
    )
    grid = F.affine_grid(rows, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)

    grey = (x * STD + MEAN).clamp(1e-3, 1)
    grey = grey ** torch.exp(uniform(-0.5, 0.5)).view(n, 1, 1, 1)
    grey = (grey - 0.5) * uniform(0.6, 1.4).view(n, 1, 1, 1) + 0.5 + uniform(-0.2, 0.2).view(n, 1, 1, 1)
    x = (grey.clamp(0, 1) - MEAN) / STD

    for i in range(n):
        level = float(torch.randn(1, generator=random))
        top, bottom, left, right = (torch.rand(4, generator=random) * 14 * (torch.rand(1, generator=random) < 0.5)).int()
        x[i, :, :top], x[i, :, 112 - bottom :] = level, level
        x[i, :, :, :left], x[i, :, :, 112 - right :] = level, level
        if torch.rand(1, generator=random) < 0.3:
            side, row, column = (torch.rand(3, generator=random) * torch.tensor([24, 88, 88]) + torch.tensor([8, 0, 0])).int()
            x[i, :, row : row + side, column : column + side] = level
    return x


def train(x: torch.Tensor, y: torch.Tensor, seed: int) -> Network:
    """The network after the last epoch: none is chosen by its validation score."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    network = Network()
    half = network.half(x)
    positive = float(y.mean())
    weight = torch.where(y > 0, 0.5 / positive, 0.5 / (1 - positive))
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}], lr=PEAK_LR
    )
    steps = math.ceil(len(y) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LR, total_steps=EPOCHS * steps, pct_start=0.15)
    for epoch in range(EPOCHS):
        network.train()
        start, total = time.monotonic(), 0.0
        for batch in torch.randperm(len(y), generator=random).split(BATCH):
            logit = network.logit(augment(half[batch].clone(), random))[:, 0]
            soft = y[batch] * 0.95 + 0.025  # label smoothing: the labels are one reader's impression
            loss = F.binary_cross_entropy_with_logits(logit, soft, weight=weight[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        print(f"epoch {epoch + 1}/{EPOCHS} loss {total / len(y):.4f} {time.monotonic() - start:.1f} s", flush=True)
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True, help="folder with labels.csv and the archives")
    parser.add_argument("--out", type=Path, required=True, help="where model.onnx goes")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)

    splits, counts = load(args.data, args.seed)
    print(counts, flush=True)
    part = splits["train"]
    x = (torch.from_numpy(part.x)[:, None].float() / 255 - MEAN) / STD
    network = train(x, torch.from_numpy(part.y).float(), args.seed)
    print(f"{sum(p.numel() for p in network.parameters())} parameters")
    torch.onnx.export(
        network,
        (torch.zeros(1, 1, 224, 224),),
        str(args.out / "model.onnx"),
        input_names=["image"],
        output_names=["score"],
        opset_version=17,
        dynamo=False,
    )


if __name__ == "__main__":
    main()
