"""A model and a tile of tissue."""

from model_fixtures import model_folder, tissue_tile  # noqa: F401
