"""Modules that users may import have moved, and errors were renamed: the old names work, with a DeprecationWarning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from operator import attrgetter
from types import ModuleType
from typing import Any

PACKAGE = "napari_sdmae."
MOVED = {
    "collapse": "losses.collapse",
    "contrast": "losses.info_nce",
    "data.augment": "data.batches.augment",
    "data.cache": "data.tiles.cache",
    "data.cache_folders": "data.tiles.cache_folders",
    "data.crops": "data.batches.crops",
    "data.decoding": "data.tiles.decode",
    "data.inspection": "data.tiles.inspect",
    "data.journal": "data.tiles.journal",
    "data.label_images": "data.labelled.label_images",
    "data.labelled_boxes": "data.batches.boxes",
    "data.labelled_classes": "data.labelled.classes",
    "data.labelled_coco": "data.labelled.layouts.coco",
    "data.labelled_columns": "data.labelled.layouts.columns",
    "data.labelled_counts": "data.labelled.class_balance",
    "data.labelled_files": "data.labelled.files",
    "data.labelled_folders": "data.labelled.layouts.folders",
    "data.labelled_inspection": "data.labelled.inspect",
    "data.labelled_loading": "data.labelled.load",
    "data.labelled_mixing": "data.batches.mixing",
    "data.labelled_notes": "data.labelled.notes",
    "data.labelled_pairs": "data.labelled.layouts.pairs",
    "data.labelled_parts": "data.labelled.parts",
    "data.labelled_prepared": "data.batches.targets",
    "data.labelled_sets": "data.labelled.labelled_set",
    "data.labelled_splits": "data.labelled.splits",
    "data.labelled_tables": "data.labelled.layouts.tables",
    "data.labelled_tiles": "data.batches.labelled_tiles",
    "data.loading": "data.batches.tile_loader",
    "data.pcam": "data.labelled.layouts.pcam",
    "data.refusals": "data.image_folder",
    "data.sampling": "data.tiles.estimate",
    "data.sources": "data.image_folder",
    "data.views": "data.batches.view_pairs",
    "documents": "text.documents",
    "finetune_config": "config.finetune",
    "head_losses": "losses.heads",
    "head_presets": "config.presets",
    "head_spec": "config.head",
    "inference.blocks": "io.images.blocks",
    "inference.encode": "inference.attention.encode",
    "inference.feature_files": "inference.embedding.files",
    "inference.fields": "io.images.field",
    "inference.linear_head": "inference.scribbles.linear_head",
    "inference.notes": "notices",
    "inference.objects": "inference.prediction.objects",
    "inference.pictures": "io.images.pictures",
    "inference.precision": "devices.precision",
    "inference.predict_boxes": "inference.prediction.detection",
    "inference.predict_pixels": "inference.prediction.pixels",
    "inference.predict_tiles": "inference.prediction.classification",
    "inference.predicting": "inference.prediction.predict",
    "inference.queries": "worker.protocol",
    "inference.resampling": "inference.prediction.rescale",
    "inference.statistics": "inference.attention.statistics",
    "inference.token_pca": "inference.attention.token_pca",
    "io.about_model": "io.model_info.describe",
    "io.aperio_xml": "io.labels.aperio_xml",
    "io.architecture": "io.checkpoints.architecture",
    "io.coco": "io.labels.coco.write",
    "io.coco_categories": "io.labels.coco.categories",
    "io.coco_reader": "io.labels.coco.read",
    "io.convert": "io.checkpoints.convert",
    "io.corrections": "data.labelled.corrections",
    "io.drawn_shapes": "io.labels.shapes",
    "io.encoder_arguments": "io.checkpoints.timm_folder",
    "io.encoder_folder": "io.checkpoints.timm_folder",
    "io.files": "io.atomic",
    "io.foreign": "io.checkpoints.external",
    "io.geojson": "io.labels.geojson.write",
    "io.geojson_features": "io.labels.geojson.features",
    "io.geojson_reader": "io.labels.geojson.read",
    "io.head_folder": "io.checkpoints.head_folder",
    "io.head_info": "io.model_info.head",
    "io.intensity": "io.images.intensity",
    "io.label_description": "io.labels.description",
    "io.label_files": "io.labels.errors",
    "io.label_objects": "labels.objects",
    "io.label_pixels": "io.labels.pixels",
    "io.label_png": "io.labels.png",
    "io.label_pyramid": "io.labels.pyramid",
    "io.label_table": "io.labels.csv",
    "io.label_tiff": "io.labels.ome_tiff",
    "io.label_zarr": "io.labels.ome_zarr.write",
    "io.label_zarr_reader": "io.labels.ome_zarr.read",
    "io.labelled_writer": "data.labelled.write",
    "io.model_card": "io.model_info.card",
    "io.model_checks": "io.model_info.checks",
    "io.new_head": "io.checkpoints.new_head",
    "io.nuclei_json": "io.labels.hovernet",
    "io.outlines": "labels.outlines",
    "io.painting": "io.labels.draw_objects",
    "io.peer_classes": "io.labels.peer_classes",
    "io.pickle_limits": "io.checkpoints.pickle_limits",
    "io.safetensors_header": "io.model_info.safetensors_header",
    "io.scale": "io.images.scale",
    "io.sdmae_folder": "io.checkpoints.sdmae_folder",
    "io.shape_drawing": "io.labels.draw_shapes",
    "io.slide_bounds": "io.labels.slide_bounds",
    "io.state_dict": "io.checkpoints.state_dict",
    "io.tensor_files": "io.checkpoints.tensor_files",
    "io.tiff": "io.images.tiff",
    "io.tiff_claims": "io.images.tiff_claims",
    "io.tiff_planes": "io.images.tiff_planes",
    "label_layers": "layers.labels",
    "label_map": "labels.label_map",
    "model_limits": "config.limits",
    "models.apple_gpu": "devices.mps",
    "models.box_windows": "models.heads.box_windows",
    "models.classification": "models.heads.classification",
    "models.detection": "models.heads.detection",
    "models.finetuned": "models.heads.head_model",
    "models.instances": "labels.watershed",
    "models.left_out": "models.compact",
    "models.memory": "models.memory_estimate",
    "models.precision": "devices.precision",
    "models.pyramid": "models.heads.feature_pyramid",
    "models.segmentation": "models.heads.segmentation",
    "models.sliding": "models.heads.sliding_window",
    "patches": "models.patches",
    "printable": "text.printable",
    "processes": "io.processes",
    "randomness": "rng",
    "ranks": "devices.distributed",
    "shape_layers": "layers.shapes",
    "spelling": "text.spelling",
    "tables": "text.tables",
    "training.ablation_plot": "training.ablation.plot",
    "training.ablation_settings": "config.ablation",
    "training.ablation_table": "training.ablation.table",
    "training.authorship": "runs.ownership.authorship",
    "training.checkpoints": "training.loop.checkpoints",
    "training.claiming": "runs.ownership.claiming",
    "training.describe": "runs.describe",
    "training.devices": "training.loop.processes",
    "training.engine": "training.pretraining.engine",
    "training.environment": "runs.environment",
    "training.evaluation": "training.finetuning.evaluate",
    "training.events": "runs.events",
    "training.head_classes": "training.finetuning.classes",
    "training.head_engine": "training.finetuning.engine",
    "training.head_loading": "training.finetuning.loader",
    "training.head_pictures": "training.finetuning.contact_sheet",
    "training.head_previews": "training.finetuning.previews",
    "training.job": "training.loop.start",
    "training.judging": "training.loop.model_selection",
    "training.leftovers": "runs.ownership.leftovers",
    "training.means": "training.loop.averages",
    "training.metrics_reader": "runs.metrics_log",
    "training.optim": "training.loop.optim",
    "training.ownership": "runs.ownership.job_numbers",
    "training.pace": "training.loop.throughput",
    "training.precision": "devices.precision",
    "training.previews": "training.pretraining.previews",
    "training.recorder": "runs.recorder",
    "training.resuming": "training.loop.resume",
    "training.run_files": "runs.files",
    "training.run_folder": "runs.folder",
    "training.run_list": "runs.run_list",
    "training.schedules": "training.loop.schedules",
    "training.selection": "training.finetuning.selection",
    "training.status": "runs.status",
    "training.stepping": "training.loop.engine",
    "training.tensorboard": "training.loop.tensorboard",
    "training.training_loop": "training.loop.loop",
    "training.views": "training.pretraining.views",
}


class _Forwarder(MetaPathFinder, Loader):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        ours = name.startswith(PACKAGE)  # of all others, such as a module "patches" of the user, nothing is known here
        return spec_from_loader(name, self) if ours and name.removeprefix(PACKAGE) in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        new = PACKAGE + MOVED[module.__name__.removeprefix(PACKAGE)]
        warnings.warn(f"{module.__name__} is now {new}", DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = import_module(new)


def renamed(module: str, **names: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of `module`, which gives what had one of the old `names` by its new one, with a warning.

    A new name in another module of :mod:`napari_sdmae` has the form ``layers.base:placed``.
    """

    def lookup(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(f"{module}.{name} is now {names[name]}", DeprecationWarning, stacklevel=2)
        home, _, new = names[name].rpartition(":")
        return attrgetter(new)(import_module(PACKAGE + home) if home else sys.modules[module])

    return lookup


def forward() -> None:
    """Let the old names be imported; last in line, so that nothing else is slowed down."""
    if not any(isinstance(finder, _Forwarder) for finder in sys.meta_path):
        sys.meta_path.append(_Forwarder())
