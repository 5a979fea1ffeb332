"""Brings Apache Kafka into .cache, for the tests: `make kafka`.

KAFKA_URL names another place of the same distribution (a mirror, or file:///…).
"""

import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

NAME = "kafka_2.13-4.3.1"
PLACES = (
    f"https://dlcdn.apache.org/kafka/4.3.1/{NAME}.tgz",
    f"https://archive.apache.org/dist/kafka/4.3.1/{NAME}.tgz",
)
SHA512 = (
    "c7d7b2318cb51aa0c61d3246a51c349210073c5c9b754947ef965a439f2f939e"
    "8600f204e134a75ac31faf3829c9370960ef7c6a9886c8a1dbf0339a21f4c54c"
)
CACHE = Path(__file__).parents[2] / ".cache"


def main(environment, cache, wanted=SHA512):
    """Download, check, unpack; a second call finds what the first brought."""
    home = cache / NAME
    if any(home.glob("libs/*.jar")):
        print(f"{home} is there")
        return
    places = [environment["KAFKA_URL"]] if environment.get("KAFKA_URL") else PLACES
    archive = first(places)
    found = hashlib.sha512(archive).hexdigest()
    if found != wanted:
        sys.exit(f"{places[0]} has SHA-512 {found}, and should have {wanted}; nothing is unpacked")
    unpack(archive, home)
    print(f"{home} is ready; the tests find it there")


def first(places):
    """What the first place that answers holds."""
    troubles = []
    for place in places:
        try:
            with urllib.request.urlopen(place, timeout=60) as answer:
                return answer.read()
        except OSError as error:
            troubles.append(f"{place}: {error}")
    return sys.exit("can't download\n  " + "\n  ".join(troubles))


def unpack(archive, home):
    """Unpack beside `home`, then move, so that what is there is whole."""
    home.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as place:
        packed = Path(place) / "archive.tgz"
        packed.write_bytes(archive)
        with tarfile.open(packed) as tar:
            tar.extractall(place, filter="data")
        (inner,) = (each for each in Path(place).iterdir() if each.is_dir())
        shutil.move(inner, home)


if __name__ == "__main__":
    main(os.environ, CACHE)
