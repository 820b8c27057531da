"""What tests of label files share."""

import warnings

import label_cases as cases
import pytest


@pytest.fixture(autouse=True)
def no_silent_warning():
    """Every warning is expected by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.fixture(scope="module")
def nuclei(tissue):
    """Nuclei of shipped tissue."""
    return cases.tissue_nuclei(tissue)
