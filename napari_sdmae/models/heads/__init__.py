"""Networks that answer a question about tissue, on the tokens of an encoder: classes of pixels, objects, boxes, tiles."""
