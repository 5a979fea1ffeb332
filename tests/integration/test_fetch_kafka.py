"""`make kafka` unpacks what has the right sum, and nothing else."""

import hashlib
import io
import tarfile

import fetch_kafka
import pytest


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "mirror" / "kafka.tgz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for name in ("kafka/libs/a.jar", "kafka/bin/start.sh"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"code"))
    return path


def digest(archive):
    return hashlib.sha512(archive.read_bytes()).hexdigest()


def test_a_distribution_with_the_right_sum_is_unpacked_once(archive, tmp_path, capsys):
    cache = tmp_path / "cache"
    fetch_kafka.main({"KAFKA_URL": archive.as_uri()}, cache, digest(archive))
    assert (cache / fetch_kafka.NAME / "libs" / "a.jar").read_bytes() == b"code"
    assert [path.name for path in cache.iterdir()] == [fetch_kafka.NAME]
    fetch_kafka.main({"KAFKA_URL": "file:///nowhere"}, cache)
    assert "is there" in capsys.readouterr().out


def test_a_wrong_sum_is_refused_and_nothing_unpacked(archive, tmp_path):
    with pytest.raises(SystemExit, match="nothing is unpacked"):
        fetch_kafka.main({"KAFKA_URL": archive.as_uri()}, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_place_that_is_not_there_is_named(tmp_path):
    environment = {"KAFKA_URL": (tmp_path / "none.tgz").as_uri()}
    with pytest.raises(SystemExit, match=r"can't download\n.*none\.tgz"):
        fetch_kafka.main(environment, tmp_path / "cache")
