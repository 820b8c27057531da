"""Tiles, settings and jobs of real runs."""

from run_fixtures import cache, jobs, labelled_data, make_config, make_finetune, tiles  # noqa: F401
