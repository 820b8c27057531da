"""What a fine-tuned head predicts in pictures of any size: classes of pixels, objects, boxes, classes of tiles."""
