"""As test_disturbances.py: files and kills; in a file of its own, to run beside it."""

import pytest
from trials import disturbances


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return disturbances.trained(tmp_path_factory.mktemp("disturbed"))


EQUAL = ": 0 missing, 0 more"


def test_kills_change_no_window(broker, tmp_path, model):
    said = disturbances.kill(broker, tmp_path, model, records=12_000, live=3_000, kills=2)
    assert said.endswith(EQUAL)


def test_many_files_read_from_their_beginning_change_no_window(tmp_path, model):
    told = {"number": 12, "lines": 2_500, "rests": 4}
    assert disturbances.files(tmp_path, model, **told).endswith(EQUAL)


def test_a_file_that_is_renamed_while_the_daemon_is_killed_has_the_windows_of_its_parts(
    tmp_path, model
):
    said = disturbances.rotate(tmp_path, model, lines=8_000, kills=1)
    assert said.endswith(EQUAL)
