"""Reads the Kermany and NIH archives and splits them by patient. 224x224 8-bit grey, as they are stored."""

import csv
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 224


@dataclass
class Images:
    """x: uint8 [N, 224, 224]; y: 1 = pneumonia; group: patient; subtype: 'bacteria', 'virus' or ''."""

    x: np.ndarray
    y: np.ndarray
    group: np.ndarray
    subtype: np.ndarray

    def where(self, mask: np.ndarray) -> "Images":
        return Images(self.x[mask], self.y[mask], self.group[mask], self.subtype[mask])


def split_of(group: str, seed: int) -> str:
    """70 % train, 12 % validation, 18 % internal test: by a hash of the patient, so that adding images moves nobody."""
    position = int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:4], "big") / 2**32
    return "train" if position < 0.70 else "validation" if position < 0.82 else "internal-test"


def load(folder: Path, seed: int) -> tuple[dict[str, Images], dict]:
    """The splits by name, and the counts that the card gives.

    Byte-identical images (sha1) are taken once; where they stand in train and test archives, the test one goes.
    """
    with open(folder / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    order = {"train": 0, "test": 1, "": 2}
    rows.sort(key=lambda row: (order[row["upstream_split"]], row["archive"], row["member"]))
    seen: set[str] = set()
    kept: dict[str, list[dict]] = {}
    for row in rows:
        if row["sha1"] in seen:
            continue
        seen.add(row["sha1"])
        if row["source"] == "nih":
            name = "nih-adults"
        elif row["upstream_split"] == "test":
            name = "upstream-test"
        else:
            name = split_of(row["group"], seed)
        kept.setdefault(name, []).append(row)

    archives = {name: tarfile.open(folder / name) for name in {row["archive"] for row in rows}}

    def pixels(row: dict) -> np.ndarray:
        data = archives[row["archive"]].extractfile(row["member"]).read()
        image = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
        assert image.shape == (SIZE, SIZE), row["member"]
        return image

    splits = {
        name: Images(
            np.stack([pixels(row) for row in part]),
            np.array([row["label"] == "pneumonia" for row in part], dtype=np.int64),
            np.array([row["group"] for row in part]),
            np.array([row["subtype"] for row in part]),
        )
        for name, part in kept.items()
    }
    # A patient number that also stands in the train archives may be the same child (SOURCES.md, caveat 3).
    known = set(np.concatenate([splits[name].group for name in ("train", "validation", "internal-test")]))
    test = splits["upstream-test"]
    splits["upstream-test-new-numbers"] = test.where(np.array([group not in known for group in test.group]))
    counts = {"archives": len(rows), "duplicatesDropped": len(rows) - len(seen)}
    for name, part in splits.items():
        counts[name] = {"images": len(part.y), "patients": len(set(part.group)), "pneumonia": int(part.y.sum())}
    return splits, counts
