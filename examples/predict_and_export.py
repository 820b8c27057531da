"""Segment an image with a head and take the result to QuPath: ``python predict_and_export.py HEAD IMAGE MPP FOLDER``."""

import sys
from pathlib import Path

from napari_sdmae.inference.measuring import measure
from napari_sdmae.inference.prediction.predict import predict
from napari_sdmae.io.checkpoints.head_folder import load_head
from napari_sdmae.io.images.read import read_image
from napari_sdmae.io.labels.registry import export_labels


def main(head: str, image: str, mpp: float, folder: Path) -> None:
    pixels = read_image(image)
    found = predict(load_head(head), pixels, mpp=mpp, source=image)
    labels = measure(found.label_map, pixels)  # areas in µm², optical density of haematoxylin and eosin

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("labels.geojson", "labels.ome.tif", "measurements.csv"):  # QuPath, any viewer, any spreadsheet
        export_labels(labels, folder / name)
    table, what = labels.measurements, "objects" if labels.instances else "classes"
    print(f"{len(table['label'])} {what}, mean haematoxylin {table['haematoxylin OD'].mean():.2f} OD: {folder}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), Path(sys.argv[4]))
