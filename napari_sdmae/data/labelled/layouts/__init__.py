"""How people lay out labelled images: folders, tables, COCO, data sets as published. No torch."""
