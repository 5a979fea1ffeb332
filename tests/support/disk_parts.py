"""A program for the trial of a full disk: the daemon with its state on a tmpfs of a mebibyte.

Run it in a mount namespace of its own, as `unshare -rm` makes it: the tmpfs goes with it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import daemon_parts
from http_parts import served
from kafka_fleet import alert_ids
from trials.receiver import wait_until

LINES = 800


def main(directory):
    disk, log = directory / "disk", directory / "app.log"
    disk.mkdir()
    _mount("size=1m", disk)
    log.write_text("".join(f"ODD {number} {'x' * 1000}\n" for number in range(LINES)))
    full = _daemon(directory, disk, "http://127.0.0.1:9/")  # nobody listens: alerts stay here
    status = full.wait(60)
    _mount("remount,size=64m", disk)
    with served(keep=alert_ids) as (url, posts):
        again = _daemon(directory, disk, url)
        try:
            wait_until(lambda: len({one for post in posts for one in post}) >= LINES // 2, 60)
        finally:
            again.terminate()
            again.wait(20)
    said = (directory / "log").read_text()
    json.dump({"status": status, "after": again.returncode, "said": said}, sys.stdout)


def _mount(options, disk):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)


def _daemon(directory, disk, url):
    config = directory / "run.yaml"
    told = {
        "model": {"path": "none"},
        "state_dir": str(disk / "state"),
        "source": {"file": {"include": str(directory / "app.log"), "start_at": "beginning"}},
        "sinks": [{"webhook": {"url": url, "grouped": False}}],
    }
    config.write_text(json.dumps(told))
    with (directory / "log").open("a") as log:
        command = [sys.executable, daemon_parts.__file__, str(config)]
        return subprocess.Popen(command, stdout=log, stderr=log, env=os.environ)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
