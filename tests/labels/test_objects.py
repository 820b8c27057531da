"""Objects of a label map, one by one."""

import numpy as np

from napari_sdmae.labels.objects import without_those_in


def test_objects_that_lie_mostly_in_an_area_are_taken_out() -> None:
    labels = np.zeros((4, 10), np.int32)
    labels[0, :6], labels[1, 4:], labels[2, 5:], labels[3, 2:8] = 1, 2, 3, 9
    area = np.zeros((4, 10), bool)
    area[:, 5:] = True
    kept = without_those_in(labels, area)
    assert sorted(np.unique(kept)) == [0, 1, 9]
    np.testing.assert_array_equal(kept == 1, labels == 1)
    np.testing.assert_array_equal(without_those_in(labels, np.zeros_like(area)), labels)
    assert not without_those_in(labels, np.ones_like(area)).any()
    assert not without_those_in(np.zeros((2, 2), np.int32), np.ones((2, 2), bool)).any()
