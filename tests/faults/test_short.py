"""A sample of the campaign of faults: each kind of fault once. ``make faults`` runs all of it."""

import warnings
from collections.abc import Iterator
from importlib import import_module

import pytest

from faults.campaign import Campaign
from faults.modules import MODULES


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    campaign = Campaign(tmp_path_factory.mktemp("faults"), jobs=1, said=print)
    yield campaign
    campaign.close()


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_lost(campaign: Campaign, name: str):
    module = import_module(f"faults.{name}")
    if reason := module.missing():
        warnings.warn(f"NOT TRIED {name}: {reason}", UserWarning, stacklevel=1)
        return
    tally = campaign.run(module.sample(campaign.material, seed=0))
    assert tally.lost == []
    assert tally.tried >= 3
