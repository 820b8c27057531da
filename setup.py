"""Which packages ship: those found, resources, the guide and the site built of it. The rest is in pyproject.toml.

``resources/`` stands at the top level and is installed as ``napari_sdmae.resources``, so that presets and sample tissue are
found wherever pip puts them. ``napari.yaml`` at the top is a link to the file in the package: npe2 reads manifests only from
inside a package, and links do not survive every Windows checkout.
"""

from setuptools import find_namespace_packages, find_packages, setup

RESOURCES = "napari_sdmae.resources"

setup(
    packages=[
        *find_packages(include=["napari_sdmae", "napari_sdmae.*"]),
        "napari_sdmae.guide",
        *find_namespace_packages(include=["napari_sdmae.site", "napari_sdmae.site.*"]),
        RESOURCES,
        *(f"{RESOURCES}.{name}" for name in find_namespace_packages("resources")),
    ]
)
