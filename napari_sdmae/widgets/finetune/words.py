"""What the tasks are called, and what their data must look like, in a pathologist's words."""

from __future__ import annotations

from napari_sdmae.config.finetune import Task
from napari_sdmae.widgets.inputs.images_source import Words

TASKS: dict[Task, str] = {
    "segmentation": "Regions (a class per area)",
    "instances": "Nuclei (outline and count)",
    "classification": "Tiles (one class per tile)",
    "detection": "Boxes (find objects)",
}

DATA: dict[Task, str] = {
    "segmentation": "Two folders, “images” and “masks”, with matching file names (pixel value = class); or QuPath’s "
    "annotations (GeoJSON) beside the images; or a CSV table with the columns file, mask and slide.",
    "instances": "Two folders, “images” and “labels”, with matching file names (each nucleus has its own number), and a folder "
    "“types” for their classes; or QuPath’s objects (GeoJSON) beside the images; "
    "or a CSV table with the columns file, mask and slide.",
    "classification": "One folder for each class with its tiles, or a CSV table with the columns file, label and slide.",
    "detection": "A COCO file (JSON) with boxes beside its images, or a folder with one.",
}

_PAINTED = Words(
    folder="Labelled files",
    layers="Labels painted in napari",
    take="Use the selected layers",
    hint="Select the Labels layers, with their images or alone, in the layer list. Each number is a class; what is not painted "
    "is not learned.",
    no_folder="Choose a folder or table of labelled images.",
    no_layers='Select Labels layers you painted, then press "Use the selected layers".',
)

SOURCES: dict[Task, Words] = {
    "segmentation": _PAINTED,
    "instances": Words(
        folder=_PAINTED.folder,
        layers=_PAINTED.layers,
        take=_PAINTED.take,
        hint="Select the Labels layers, with their images or alone, in the layer list. Each number is one nucleus. Paint every "
        "nucleus of an area: what lies between them counts as background.",
        no_folder=_PAINTED.no_folder,
        no_layers=_PAINTED.no_layers,
    ),
    "classification": Words(folder=_PAINTED.folder, no_folder="Choose a folder with one folder for each class, or a table."),
    "detection": Words(
        folder=_PAINTED.folder,
        layers="Boxes drawn in napari",
        take=_PAINTED.take,
        hint="Select the Shapes layers, with their images or alone. The class is the name of the layer, or the column class of "
        "its features. What lies between the boxes counts as background.",
        no_folder="Choose a COCO file, or a folder with one.",
        no_layers='Select Shapes layers with boxes, then press "Use the selected layers".',
    ),
}
