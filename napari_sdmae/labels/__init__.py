"""What a label map is: classes, labels with their place in the picture, the objects and outlines in them. No torch."""

from napari_sdmae.labels.label_map import Colour, LabelClass, LabelMap, colour_of, make_classes

__all__ = ["Colour", "LabelClass", "LabelMap", "colour_of", "make_classes"]
