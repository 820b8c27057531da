"""What a fine-tuned head predicts in pictures of any size: classes of pixels, objects, boxes, classes of tiles."""

from napari_sdmae.moved import renamed

__getattr__ = renamed(__name__, Prediction="inference.prediction.result:Prediction")
