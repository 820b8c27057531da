"""Hide 60 % of an image's patches and let a model fill them in: ``python reconstruct_image.py MODEL IMAGE PICTURE``."""

import sys

import numpy as np
from PIL import Image

from napari_sdmae.inference import reconstruct
from napari_sdmae.io.images.read import read_image


def main(model: str, image: str, picture: str) -> None:
    field = read_image(image)
    result = reconstruct(model, field, mask_ratio=0.6, seed=0)
    Image.fromarray(np.hstack([field, result.masked, result.reconstruction])).save(picture)
    print(
        f"mean error of the hidden pixels: {result.mean_error:.3f} of the full range; from left to right: "
        f"image, what the model saw, its reconstruction (with the true mean and contrast of each patch): {picture}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
