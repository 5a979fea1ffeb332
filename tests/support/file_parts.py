"""A directory with followed files, and a clock."""

from logmlm.config.sources import FileSourceConfig
from logmlm.records import Checkpoint
from logmlm.sources.file.checkpoints import CheckpointStore
from logmlm.sources.file.source import FileSource

LONG_BANNER = "#" * 1100 + "\n"
"""More than a fingerprint is of."""


class Desk:
    """A directory with logs, a clock, and the source that follows them."""

    def __init__(self, directory, room=100, **config):
        self.directory = directory
        self.room = room
        self.log = directory / "app.log"
        self.state = directory / "checkpoints.json"
        self.now = 1000.0
        self.config = {"include": [str(directory / "app.log*")], "start_at": "beginning", **config}
        self.source = None
        self.ended = set()
        self.start()

    def start(self):
        if self.source is not None:
            self.source.close()
        self.source = FileSource(
            FileSourceConfig(**self.config),
            CheckpointStore(self.state),
            clock=lambda: self.now,
            wait=self.wait,
            monotonic=lambda: self.now,
            open_limit=lambda: self.room,
        )

    def wait(self, seconds):
        self.now += seconds

    def write(self, text, path=None):
        with (path or self.log).open("ab") as stream:
            stream.write(text.encode() if isinstance(text, str) else text)

    def poll(self, turns=1):
        """What a few polls hand over, each a second long."""
        lines = []
        for _ in range(turns):
            lines += self.source.poll(1.0)
            self.ended |= self.source.changes().ended
        return lines

    def texts(self, turns=1):
        return [line.text for line in self.poll(turns)]

    def commit(self, lines):
        self.source.commit({line.partition: Checkpoint(line.end, line.end, 5.0) for line in lines})
