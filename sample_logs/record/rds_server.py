"""A Redis server with a replica, from Debian's package, on 127.0.0.1."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from common import mount_small
from resp import PORT, Client

CONFIG = """
bind 127.0.0.1
port {port}
dir {folder}
logfile {log}
loglevel verbose
save 20 300
appendonly {aof}
auto-aof-rewrite-min-size 1mb
auto-aof-rewrite-percentage 80
maxclients 60
repl-timeout 6
repl-ping-replica-period 2
repl-backlog-size 1mb
repl-diskless-sync-delay 1
busy-reply-threshold 2000
user app on >app-pw ~* &* +@all
user batch on >batch-pw ~* &* +@all
user backup on >backup-pw ~* &* +@all
user admin on >admin-pw ~* &* +@all
user default on >default-pw ~* &* +@all
"""
REPLICA = f"""
replicaof 127.0.0.1 {PORT}
masteruser backup
masterauth backup-pw
"""
Process = subprocess.Popen[bytes]


@dataclass
class Server:
    """The master, whose log is recorded, and its replica."""

    work: Path
    running: dict[str, Process] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.work / "redis.log"

    @property
    def small(self) -> Path:
        return self.work / "small"

    def create(self) -> None:
        """Configurations, and a small file system for the master's data."""
        mount_small(self.small, "48m")
        (self.work / "replica").mkdir()
        master = CONFIG.format(port=PORT, folder=self.small, log=self.log, aof="yes")
        (self.work / "master.conf").write_text(master)
        folder = self.work / "replica"
        text = CONFIG.format(port=PORT + 1, folder=folder, log=folder / "log", aof="no")
        (self.work / "replica.conf").write_text(text + REPLICA)

    def start(self, name: str) -> None:
        """Start the master or the replica and wait until it answers."""
        command = ["/usr/bin/redis-server", str(self.work / f"{name}.conf")]
        with open(os.devnull, "wb") as null:
            self.running[name] = subprocess.Popen(command, stdout=null, stderr=null)
        self.wait_ready(PORT if name == "master" else PORT + 1)

    def wait_ready(self, port: int) -> None:
        """Until the server answers a ping."""
        for _ in range(100):
            try:
                with Client("monitor", "app", port) as client:
                    client.call("PING")
                return
            except OSError:
                time.sleep(0.1)
        raise OSError(f"no answer on port {port}")

    def tell(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the master or the replica."""
        self.running[name].send_signal(number)

    def restart(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End the server with a signal and start it again."""
        self.tell(name, number)
        self.running[name].wait(20)
        self.start(name)

    def stop(self) -> None:
        """End both."""
        for process in self.running.values():
            process.kill()
            process.wait()
