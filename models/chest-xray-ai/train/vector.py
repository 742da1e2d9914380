"""Draws a chest-like picture, writes it as a labelled synthetic DICOM, and scores the same pixels with onnxruntime.

The server must come to the same score from the DICOM file (packages/server/test/vectors/models/README.md).
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from constants import MEAN, STD

ROWS, COLUMNS = 300, 260  # neither square nor 224, so that the resize counts


def draw() -> np.ndarray:
    """Ellipses and a sine for ribs: uint8 [300, 260]. No data of anybody."""
    y, x = np.mgrid[0:ROWS, 0:COLUMNS].astype(np.float64)
    inside = lambda cy, cx, ry, rx: ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1  # noqa: E731
    image = np.full((ROWS, COLUMNS), 20.0)
    image[inside(160, 130, 150, 118)] = 150  # trunk
    for centre in (78, 182):
        image[inside(150, centre, 100, 40)] = 70  # lungs
    image += np.where(inside(150, 130, 110, 100), 14 * np.sin(y / 6 + (x - 130) ** 2 / 4000), 0)  # ribs
    image[inside(190, 145, 52, 44)] = 175  # heart
    image[:, 124:136] = np.maximum(image[:, 124:136], 165)  # spine
    return image.clip(0, 255).astype(np.uint8)


def part10(pixels: np.ndarray) -> Dataset:
    """A CR image of a test object (Quality Control Subject, PS3.3 C.7.1.1) that declares an age in scope."""
    root = "2.25.318734918273645182736451827364"
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = ComputedRadiographyImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = root + "3"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.StudyInstanceUID, ds.SeriesInstanceUID = root + "1", root + "2"
    ds.PatientName, ds.PatientID, ds.PatientAge, ds.PatientSex = "SYNTHETIC^DRAWN", "ABATON-DRAWN-1", "003Y", "O"
    ds.PatientBirthDate = ds.StudyTime = ds.ReferringPhysicianName = ds.AccessionNumber = ""
    ds.QualityControlSubject, ds.StudyDate, ds.StudyID = "YES", "20260101", "1"
    ds.Modality, ds.BodyPartExamined, ds.ViewPosition, ds.Manufacturer = "CR", "CHEST", "AP", "Abaton"
    ds.SeriesNumber = ds.InstanceNumber = 1
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.BurnedInAnnotation, ds.PatientOrientation = "NO", ["L", "F"]
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OB"
    return ds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True, help="folder with model.onnx")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    onnx = (args.model / "model.onnx").read_bytes()
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    pixels = draw()
    part10(pixels).save_as(args.out / "drawn-chest.dcm", enforce_file_format=True)
    # Pillow's BILINEAR is a triangle filter that widens when it shrinks: the antialias of model.json. In two steps, since
    # the order of columns and rows, which moves some pixels by one, differs between versions of Pillow.
    narrow = Image.fromarray(pixels).resize((224, ROWS), Image.Resampling.BILINEAR)
    small = np.asarray(narrow.resize((224, 224), Image.Resampling.BILINEAR))
    tensor = ((small.astype(np.float32) / 255 - MEAN) / STD)[None, None]
    score = session.run(["score"], {"image": tensor})[0].item()
    answer = {
        "onnxSha256": hashlib.sha256(onnx).hexdigest(),
        "squashedSha256": hashlib.sha256(small.tobytes()).hexdigest(),
        "score": round(score, 6),
    }
    (args.out / "drawn-chest.json").write_text(json.dumps(answer, indent=2) + "\n")
    print(answer)


if __name__ == "__main__":
    main()
