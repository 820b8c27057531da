"""Names that users import go on working."""

import json
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pkgutil import resolve_name

import pytest

from napari_sdmae.moved import MOVED

PUBLIC = {
    "napari_sdmae.models": ["SDMAE"],
    "napari_sdmae.losses": ["SDMAELoss", "distillation_weight", "teacher_temperature"],
    "napari_sdmae.config": [
        *("PretrainConfig", "FinetuneConfig", "HeadSpec", "ModelConfig", "LossConfig", "TilesConfig", "AugmentationConfig"),
        *("OptimizerConfig", "read_yaml", "merge", "load_preset", "preset_names"),
    ],
    "napari_sdmae.io.checkpoints": ["Encoder", "load_model", "load_encoder", "save_model", "convert_checkpoint"],
    "napari_sdmae.io.images": ["read_image"],
    "napari_sdmae.io.labels": ["export_labels", "import_labels"],
    "napari_sdmae.io.model_info": ["model_info"],
    "napari_sdmae.training": ["pretrain", "finetune", "RunFolder", "list_runs"],
    "napari_sdmae.training.ablation": ["ablate", "AblationEnded"],
    "napari_sdmae.inference": ["reconstruct", "attention_maps", "encode_field", "embed", "measure", "predict", "Prediction"],
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names(module):
    assert all(hasattr(import_module(module), name) for name in PUBLIC[module])


OLD_MODULES = dict(
    line.split()
    for line in """
collapse code_measures
contrast contrast
data.augment Draw
data.cache Progress
data.cache_folders cache_root
data.crops random_boxes
data.decoding decode_in_order
data.inspection Inspection
data.journal Entry
data.label_images is_outlines
data.labelled_boxes boxes_in_tile
data.labelled_classes read_classes
data.labelled_coco list_coco
data.labelled_columns TableError
data.labelled_counts class_counts
data.labelled_files NamedFiles
data.labelled_folders list_folders
data.labelled_inspection inspect_labelled
data.labelled_loading Loaded
data.labelled_mixing brighten
data.labelled_notes picture_warnings
data.labelled_pairs Placed
data.labelled_parts part_of
data.labelled_prepared Prepared
data.labelled_sets LabelledImage
data.labelled_splits Split
data.labelled_tables label_column
data.labelled_tiles Batch
data.loading TileLoader
data.pcam Published
data.refusals refuse_unusable
data.sampling Sample
data.sources Survey
data.views patch_shifts
documents DocumentError
finetune_config EncoderConfig
head_losses HeadLosses
head_presets head_preset_names
head_spec HeadSpec
inference.blocks Span
inference.encode AttentionState
inference.feature_files FeatureWriter
inference.fields Grid
inference.linear_head fit_linear_head
inference.notes reconstruction_note
inference.objects on_picture
inference.pictures Picture
inference.precision answering
inference.predict_boxes detected
inference.predict_pixels Found
inference.predict_tiles is_one_tile
inference.predicting predict
inference.queries QueryError
inference.resampling LabelGrid
inference.statistics entropy
inference.token_pca PCABasis
io.about_model describe_model
io.aperio_xml read_outlines
io.architecture trunk_architecture
io.coco write_coco
io.coco_categories Categories
io.coco_reader Boxes
io.convert convert_checkpoint
io.corrections add_correction
io.drawn_shapes polygons_of
io.encoder_arguments arguments_of
io.encoder_folder save_encoder
io.files check_free
io.foreign Foreign
io.geojson write_geojson
io.geojson_features Shape
io.geojson_reader read_geojson
io.head_folder save_head
io.head_info read_head_spec
io.intensity Depth
io.label_description describe
io.label_files UnusableLabels
io.label_objects Window
io.label_pixels read_label_pixels
io.label_png classes_file
io.label_pyramid level_count
io.label_table label_table
io.label_tiff write_label_tiff
io.label_zarr write_label_zarr
io.label_zarr_reader read_label_zarr
io.labelled_writer LabelledPicture
io.model_card read_card
io.model_checks check_sdmae
io.new_head new_head
io.nuclei_json nuclei_features
io.outlines outlines
io.painting empty_labels
io.peer_classes peer_class
io.pickle_limits check_torch_file
io.safetensors_header Entry
io.scale Scale
io.sdmae_folder save_model
io.shape_drawing draw_shapes
io.slide_bounds bounds_corner
io.state_dict StateDict
io.tensor_files read_torch_file
io.tiff picture
io.tiff_claims opened
io.tiff_planes Which
label_layers labels_layer
label_map LabelClass
model_limits check_pixel_statistics
models.apple_gpu mps_fault
models.box_windows window_boxes
models.classification classification_head
models.detection DetectionHead
models.finetuned SegmentationOutput
models.instances instance_targets
models.left_out has_heads
models.memory TrainingMemory
models.precision autocast
models.pyramid Tokens
models.segmentation DenseHead
models.sliding predict_windows
patches standardise
printable printable
processes ProcessIdentity
randomness random_bits
ranks distributed
shape_layers drawn
spelling one_form
tables harmless
training.ablation_plot draw_results
training.ablation_settings Cell
training.ablation_table Result
training.authorship Author
training.checkpoints TrainingState
training.claiming require_idle
training.describe describe
training.devices launch
training.engine Engine
training.environment describe_environment
training.evaluation evaluate
training.events Preparing
training.head_classes with_classes_of
training.head_engine HeadEngine
training.head_loading HeadLoader
training.head_pictures contact_sheet
training.head_previews Shown
training.job run_job
training.judging LowestLoss
training.leftovers is_leftover
training.means Means
training.metrics_reader MetricsReader
training.optim is_decayed
training.ownership RunFolderError
training.pace SMOOTHING
training.precision GAIN
training.previews Previewer
training.recorder record
training.resuming find_checkpoint
training.run_files RunFiles
training.run_folder RunFolder
training.run_list FoundRuns
training.schedules Schedule
training.selection BestOnValidation
training.status RunStatus
training.stepping Losses
training.tensorboard check_tensorboard
training.training_loop Shows
training.views masks
""".strip().splitlines()
)
"""Modules as they were before the rooms, each with a name that its users imported; written here, so that none is dropped."""

IMPORT_ALL = """
import importlib, json, sys, warnings
for module, name in json.load(sys.stdin).items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = importlib.import_module("napari_sdmae." + module)
    assert hasattr(loaded, name), (module, name)
    told = [str(one.message) for one in caught if one.category is DeprecationWarning]
    assert any(line.startswith(f"napari_sdmae.{module} is now napari_sdmae.") for line in told), (module, told)
"""


def test_old_modules_give_what_they_gave_and_warn():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], input=json.dumps(OLD_MODULES), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_moved_module_is_tested():
    assert set(MOVED) == set(OLD_MODULES)


@pytest.mark.parametrize("name", ["patches", "label_map", "randomness", "napari_sdmaepatches", "napari_sdmae.nothing"])
def test_modules_of_others_are_not_claimed(name):
    assert find_spec(name) is None


RENAMED = {
    "config.presets": {"from_head_preset": "config.finetune:FinetuneConfig.from_preset"},
    "inference.attention": {
        "AttentionMap": "inference.attention.result:AttentionMap",
        "attention_maps": "inference.attention.maps:attention_maps",
    },
    "inference.prediction": {"Prediction": "inference.prediction.result:Prediction"},
    "io.checkpoints.pickle_limits": {"TooMuch": "TooMuchError"},
    "io.images.intensity": {"UnknownKind": "UnknownKindError"},
    "io.model_info": {
        "default_model": "io.model_info.info:default_model",
        "shipped_heads": "io.model_info.info:shipped_heads",
        "shipped_models": "io.model_info.info:shipped_models",
    },
    "layers.labels": {"mark": "labels.serialization:metadata_of_labels"},
    "losses.info_nce": {"contrast": "info_nce"},
    "training.loop.averages": {"Means": "RunningMean"},
    "io.images": {"UnusableImage": "InvalidImageError"},
    "io.images.read": {"UnusableImage": "InvalidImageError"},
    "io.images.field": {"FieldError": "InvalidFieldError"},
    "io.memory": {"TooLarge": "TooLargeError"},
    "io.labels": {"UnusableLabels": "InvalidLabelsError"},
    "io.labels.errors": {"UnusableLabels": "InvalidLabelsError"},
    "io.labels.registry": {"UnusableLabels": "InvalidLabelsError"},
    "models": {"masked_count": "num_masked"},
    "models.masking": {"masked_count": "num_masked", "count_masked": "num_masked_in"},
    "models.heads.head_model": {"Finetuned": "HeadModel"},
    "runs.folder": {"TakenOver": "TakenOverError"},
    "training.loop.checkpoints": {
        "DamagedCheckpoint": "CorruptCheckpointError",
        "UnreadableCheckpoint": "UnreadableCheckpointError",
    },
    "training.loop.engine": {"OutOfMemory": "OutOfMemoryError"},
    "training.loop.loop": {"Diverged": "DivergedError"},
    "worker.protocol": {"QueryError": "WorkerError"},
}


@pytest.mark.parametrize("module", RENAMED)
def test_old_names_in_modules_are_the_new_ones_and_warn(module):
    loaded = import_module(f"napari_sdmae.{module}")
    for old, new in RENAMED[module].items():
        with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
            assert getattr(loaded, old) == resolve_name(f"napari_sdmae.{new}" if ":" in new else f"{loaded.__name__}:{new}")
    with pytest.raises(AttributeError, match="nothing"):
        loaded.nothing  # noqa: B018


def test_what_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        import_module("napari_sdmae.nothing")
