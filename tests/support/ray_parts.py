"""A Ray cluster of two nodes on this machine, whose workers and second node can be killed."""

import os
import signal
import subprocess
import threading
from contextlib import contextmanager

from ray.cluster_utils import Cluster


@contextmanager
def two_nodes():
    """Two nodes of two CPUs, the first with a GPU that is none; all is ended with the block."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "num_gpus": 1, "include_dashboard": False},
    )
    try:
        cluster.add_node(num_cpus=2)
        yield cluster
    finally:
        cluster.shutdown()


def workers(cluster):
    """Process ids of the cluster's workers, and what each is doing."""
    raylets = {
        process.process.pid
        for node in cluster.list_all_nodes()
        for process in node.all_processes["raylet"]
    }
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,args="], check=True, capture_output=True, text=True
    )
    for row in listed.stdout.splitlines():
        pid, parent, title = row.split(maxsplit=2)
        if int(parent) in raylets:
            yield int(pid), title


class Killer(threading.Thread):
    """Kills the first worker that is seen at each of some stages, and all of `node` at the last."""

    def __init__(self, cluster, stages, node=None):
        super().__init__(daemon=True)
        self.killed = []
        self._node = node
        self._last = stages[-1]
        self._cluster = cluster
        self._stages = list(stages)
        self._done = threading.Event()

    def run(self):
        while self._stages and not self._done.wait(0.1):
            for pid, title in workers(self._cluster):
                stage = next((each for each in self._stages if each in title), None)
                if stage is not None:
                    self._stages.remove(stage)
                    self._kill(stage, pid)
                    self.killed.append(stage)

    def _kill(self, stage, pid):
        if self._node is not None and stage == self._last:
            self._cluster.remove_node(self._node, allow_graceful=False)
        else:
            os.kill(pid, signal.SIGKILL)

    def stop(self):
        self._done.set()
        self.join(10)
