"""The manifest: what training fixed comes back as it was, and every damage is found."""

import json
import os
from contextlib import suppress

import pytest

from logmlm.config.training import FormatConfig, ModelConfig, ThresholdConfig, WindowConfig
from logmlm.detection.manifest import DataSummary, Manifest, digest_files
from logmlm.errors import ModelError


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"\0\1\2")
    (tmp_path / "templates.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.fixture
def manifest(directory):
    written = Manifest(
        version=1,
        logmlm="0.1.0",
        name="größe",
        created="2024-05-06T07:08:09+00:00",
        format=FormatConfig(name="syslog", timezone="Europe/Berlin"),
        window=WindowConfig(kind="session", key=r"(req-\d+)", gap="30s"),
        model=ModelConfig(preset="tiny", learning_rate=1e-05),
        threshold=ThresholdConfig(false_alarm_rate=0.01),
        data=DataSummary(
            files=("a.log",), lines=9, windows=3, first_event=1.5, last_event=2.5, digest="d"
        ),
        metrics={"perplexity": 1.25},
        files=digest_files(directory),
    )
    written.write(directory)
    return written


def test_what_is_written_is_read_back(directory, manifest):
    assert Manifest.read(directory) == manifest
    state = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    assert state["window"]["gap"] == 30.0
    assert state["name"] == "größe"


def test_files_are_digested_by_name_without_the_manifest(directory, manifest):
    assert (
        digest_files(directory)
        == manifest.files
        == {
            "templates.json": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "weights.bin": "ae4b3280e56e2faf83f414a6e3dabe9d5fbe18976544c05fed121accb85b53fc",
        }
    )


def test_the_digest_is_that_of_all_files_whatever_their_order(manifest):
    backwards = manifest.model_copy(update={"files": dict(reversed(manifest.files.items()))})
    assert backwards.digest == manifest.digest
    other = manifest.model_copy(update={"files": manifest.files | {"weights.bin": "0"}})
    assert other.digest != manifest.digest
    assert len(manifest.digest) == 64


@pytest.mark.parametrize("name", ["manifest.json", "weights.bin", "templates.json"])
def test_a_flipped_bit_anywhere_is_found(directory, manifest, name):
    path = directory / name
    whole = path.read_bytes()
    for place in range(0, len(whole), 7 if len(whole) > 100 else 1):
        for bit in (0, 5):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            assert _refusal(directory) or Manifest.read(directory) == manifest  # 1e-05 as 1E-05


def _refusal(directory):
    with suppress(ModelError):
        Manifest.read(directory)
        return False
    return True


def test_a_changed_setting_is_found(directory, manifest):
    path = directory / "manifest.json"
    state = json.loads(path.read_text()) | {"name": "other"}
    path.write_text(json.dumps(state))
    with pytest.raises(ModelError, match=r"manifest\.json is damaged; copy the model directory"):
        Manifest.read(directory)
    del state["checksum"]
    path.write_text(json.dumps(state | {"name": manifest.name}))
    with pytest.raises(ModelError, match="is damaged"):
        Manifest.read(directory)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"3", b'{"version": "x"}', b"\xff\xfe{}"])
def test_what_is_no_manifest_is_an_error(directory, content):
    (directory / "manifest.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"manifest\.json"):
        Manifest.read(directory)


@pytest.mark.usefixtures("manifest")
def test_a_newer_version_says_to_upgrade(directory):
    path = directory / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 2, "new": 1}))
    with pytest.raises(ModelError, match=r"made by a newer logmlm \(model version 2, .*upgrade"):
        Manifest.read(directory)


@pytest.mark.usefixtures("manifest")
def test_a_missing_file_is_named(directory):
    (directory / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"weights.bin is missing: the model directory is incompl"):
        Manifest.read(directory)
    (directory / "weights.bin").mkdir()
    with pytest.raises(ModelError, match=r"can't read .*weights.bin: Is a directory"):
        Manifest.read(directory)


def test_a_directory_without_a_manifest_is_no_model(directory):
    with pytest.raises(ModelError, match=r"there is no .*/manifest\.json: name a model directory"):
        Manifest.read(directory)
    log = directory / "pg.log"
    log.write_text("a line\n")
    with pytest.raises(ModelError, match=r"/pg.log is no directory: name a model directory, made"):
        Manifest.read(log)
    with pytest.raises(ModelError, match=r"there is no .*/nope: name a model directory, made by"):
        Manifest.read(directory / "nope")
    (directory / "manifest.json").mkdir()
    with pytest.raises(ModelError, match=r"can't read .*manifest.json: "):
        Manifest.read(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without rights")
@pytest.mark.usefixtures("manifest")
def test_a_directory_without_rights_is_said(directory):
    (directory / "manifest.json").chmod(0)
    os.seteuid(65534)
    try:
        with pytest.raises(
            ModelError, match=r"can't read .*manifest\.json: Permission denied; mend its rights"
        ):
            Manifest.read(directory)
    finally:
        os.seteuid(0)
