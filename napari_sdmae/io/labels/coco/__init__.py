"""Boxes and instance masks as COCO JSON."""
