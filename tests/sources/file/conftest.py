"""What all tests of followed files need."""

from math import inf

import pytest

from logmlm.sources.file import source


@pytest.fixture(autouse=True, scope="package")
def looks_are_cheap():
    """On a busy machine a look takes long, and the next one would come later than tests expect."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "SCANS_SHARE", inf)
        yield
