"""Which packages ship: those found, and the folder resources with its own; identity and dependencies are in pyproject.toml."""

from setuptools import find_namespace_packages, find_packages, setup

RESOURCES = "napari_sdmae.resources"

setup(
    packages=[
        *find_packages(include=["napari_sdmae", "napari_sdmae.*"]),
        RESOURCES,
        *(f"{RESOURCES}.{name}" for name in find_namespace_packages("resources")),
    ]
)
