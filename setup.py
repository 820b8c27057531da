"""Which packages ship: those found, and the folder resources; identity and dependencies are in pyproject.toml."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["napari_sdmae", "napari_sdmae.*"]), "napari_sdmae.resources"])
