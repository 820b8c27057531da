"""Which patches receive attention, and where one patch looks: ``python attention_maps.py MODEL IMAGE MAPS``."""

import sys

import numpy as np

from napari_sdmae.inference import attention_maps, encode_field
from napari_sdmae.io.checkpoints import load_encoder
from napari_sdmae.io.images.read import read_image


def main(model: str, image: str, maps: str) -> None:
    field = read_image(image)
    state = encode_field(load_encoder(model), field)  # one forward pass; every map below comes from it

    received = attention_maps(state, method="received")
    heads = attention_maps(state, method="received", head="grid")
    centre = attention_maps(state, method="query", query=(field.shape[0] / 2, field.shape[1] / 2))
    rollout = attention_maps(state, method="rollout")
    np.savez(maps, received=received.values, heads=heads.values, centre=centre.values, rollout=rollout.values)

    numbers = received.statistics()
    print(f"{received.grid.rows} x {received.grid.columns} patches of {received.grid.cell} px, block {received.block}")
    print(f"entropy {numbers['entropy']:.2f} of at most {numbers['entropy_max']:.2f} nats, Gini {numbers['gini']:.2f}")
    print("mean attention distance of each head, px:", ", ".join(f"{distance:.0f}" for distance in received.distance_px))
    print(f"maps: {maps}")


if __name__ == "__main__":
    main(*sys.argv[1:])
