"""Measures model.onnx on every split and writes evaluation.json. Nothing is trained here but the thumbnail baseline."""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from constants import MEAN, STD
from data import Images, load

BOOTSTRAPS = 2000
TARGET_SENSITIVITY = 0.95  # of the operating point, on the validation split


def auc(y: np.ndarray, score: np.ndarray) -> float:
    """Mann-Whitney: the chance that a pneumonia image scores above a normal one, ties counted half."""
    if y.min() == y.max():
        return float("nan")
    values, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = int(y.sum())
    return float((rank[y == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(y) - positive)))


def rate(y: np.ndarray, above: np.ndarray, of: int) -> float:
    chosen = y == of
    return float((above[chosen] == of).mean()) if chosen.any() else float("nan")


def interval(part: Images, statistic) -> list[float]:
    """95 % percentile bootstrap over patients, since images of one patient are alike."""
    random = np.random.default_rng(0)
    members = [np.flatnonzero(part.group == group) for group in np.unique(part.group)]
    values = []
    for _ in range(BOOTSTRAPS):
        drawn = np.concatenate([members[i] for i in random.integers(0, len(members), len(members))])
        values.append(statistic(drawn))
    return [round(float(v), 3) for v in np.nanpercentile(values, [2.5, 97.5])]


def with_interval(part: Images, statistic) -> dict:
    return {"value": round(statistic(np.arange(len(part.y))), 3), "interval95": interval(part, statistic)}


def thumbnail(x: np.ndarray) -> np.ndarray:
    """8x8 means: no anatomy is left in them."""
    return x.reshape(-1, 8, 28, 8, 28).mean(axis=(2, 4)).reshape(-1, 64) / 255


def hide(x: np.ndarray, margin: int, inside: bool) -> np.ndarray:
    """Grey (the image's mean) inside, or outside, of the box that leaves `margin` pixels on each side."""
    box = np.zeros(x.shape[1:], bool)
    box[margin:-margin, margin:-margin] = True
    mean = x.mean(axis=(1, 2), keepdims=True)
    return np.where(box if inside else ~box, mean, x).astype(np.uint8)


def calibration(y: np.ndarray, score: np.ndarray) -> dict:
    """Brier score, expected calibration error, and the table behind it (ten bins of equal width)."""
    bins = np.minimum((score * 10).astype(int), 9)
    table = [
        {"from": b / 10, "images": int((bins == b).sum()), "meanScore": round(float(score[bins == b].mean()), 3),
         "pneumonia": round(float(y[bins == b].mean()), 3)}
        for b in range(10) if (bins == b).any()
    ]  # fmt: skip
    error = sum(row["images"] * abs(row["meanScore"] - row["pneumonia"]) for row in table) / len(y)
    return {"brier": round(float(((score - y) ** 2).mean()), 3), "expectedCalibrationError": round(error, 3), "bins": table}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="folder with model.onnx; evaluation.json goes there")
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()
    splits, counts = load(args.data, args.seed)

    onnx = (args.model / "model.onnx").read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])

    def scores(x: np.ndarray) -> np.ndarray:
        batch = lambda image: ((image.astype(np.float32) / 255 - MEAN) / STD)[None, None]  # noqa: E731
        return np.array([session.run(["score"], {"image": batch(image)})[0].item() for image in x]).round(4)

    baseline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1))
    baseline.fit(thumbnail(splits["train"].x), splits["train"].y)

    validation = splits["validation"]
    positive = np.sort(scores(validation.x)[validation.y == 1])
    point = round(float(positive[int((1 - TARGET_SENSITIVITY) * len(positive))]), 4)

    def measure(part: Images) -> dict:
        score = scores(part.x)
        small = baseline.predict_proba(thumbnail(part.x))[:, 1]
        above = (score >= point).astype(int)
        result = {
            "images": len(part.y),
            "patients": len(set(part.group)),
            "pneumoniaImages": int(part.y.sum()),
            "auc": with_interval(part, lambda i: auc(part.y[i], score[i])),
            "thumbnailBaselineAuc": with_interval(part, lambda i: auc(part.y[i], small[i])),
            "aucMinusBaseline": with_interval(part, lambda i: auc(part.y[i], score[i]) - auc(part.y[i], small[i])),
            "sensitivity": with_interval(part, lambda i: rate(part.y[i], above[i], 1)),
            "specificity": with_interval(part, lambda i: rate(part.y[i], above[i], 0)),
            "calibration": calibration(part.y, score),
        }
        for kind in ("bacteria", "virus"):
            chosen = part.where((part.subtype == kind) | (part.y == 0))
            if (part.subtype == kind).any():
                own = score[(part.subtype == kind) | (part.y == 0)]
                result[f"auc-{kind}"] = with_interval(chosen, lambda i, c=chosen, s=own: auc(c.y[i], s[i]))
        for name, x in {
            "aucCentreHidden": hide(part.x, 34, inside=True),  # 70 % of each side: the lungs are gone
            "aucBorderHidden": hide(part.x, 20, inside=False),  # the outer 9 % of each side, with its markers, is gone
        }.items():
            shown = scores(x)
            result[name] = with_interval(part, lambda i, s=shown: auc(part.y[i], s[i]))
        return result

    names = ("validation", "internal-test", "upstream-test", "upstream-test-new-numbers", "nih-adults")
    report = {
        "version": 1,
        "onnxSha256": hashlib.sha256(onnx).hexdigest(),
        "seed": args.seed,
        "bootstraps": BOOTSTRAPS,
        "intervals": "percentile bootstrap over patients",
        "counts": counts,
        "operatingPoint": {"value": point, "chosen": f"sensitivity {TARGET_SENSITIVITY} on the validation split"},
        "sources": {name: measure(splits[name]) for name in names},
    }
    (args.model / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n")
    for name, part in report["sources"].items():
        print(name, {k: v for k, v in part.items() if k != "calibration"})


if __name__ == "__main__":
    main()
