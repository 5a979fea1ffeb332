"""An nginx of its own, from Debian's package, in front of shop_backend.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from common import mount_small, quietly

PORT = 18080
BACKEND = 18081
CONFIG = """
user www-data;
worker_processes 2;
pid {work}/nginx.pid;
error_log {work}/error.log info;
events {{ worker_connections 256; }}
http {{
  types {{ text/css css; text/javascript js; image/png png; image/jpeg jpg; }}
  access_log {work}/access.log combined;
  client_body_temp_path {work}/small/body;
  client_header_timeout 30s;
  proxy_connect_timeout 2s;
  proxy_read_timeout 2s;
  keepalive_timeout 5s;
  client_max_body_size 1m;
  server {{
    listen 127.0.0.1:{port};
    server_name shop.example.org;
    location /static/ {{ root {root}; etag off; }}
    location = /favicon.ico {{ root {root}; }}
    location /export/ {{
      auth_basic "export";
      auth_basic_user_file {work}/users;
      proxy_pass http://127.0.0.1:{backend};
    }}
    location / {{ proxy_pass http://127.0.0.1:{backend}; }}
  }}
}}
"""
SIZES = {"app.css": 9311, "app.js": 48207, "img/logo.png": 5120, "img/offer.jpg": 30011}
SIZES |= {"img/list.jpg": 20480} | {f"img/p{n}.jpg": 9000 + 997 * n for n in range(12)}


@dataclass
class Server:
    """nginx, its backend and its folder."""

    work: Path
    backend: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def create(self) -> None:
        """Files to serve, a small file system for uploads, the configuration."""
        for name, size in SIZES.items():
            path = self.work / "www/static" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(size))
        mount_small(self.work / "small", "8m")
        hashed = subprocess.run(
            ["openssl", "passwd", "-apr1", "export-pw"], capture_output=True, check=True
        )
        (self.work / "users").write_bytes(b"export:" + hashed.stdout)
        self.configure(self.work / "www")

    def configure(self, root: Path) -> None:
        """Write the configuration file."""
        text = CONFIG.format(work=self.work, port=PORT, backend=BACKEND, root=root)
        (self.work / "nginx.conf").write_text(text)

    def start(self) -> None:
        """Start nginx and wait for its pid file."""
        quietly("nginx", "-c", str(self.work / "nginx.conf"), "-e", str(self.work / "error.log"))
        self._wait(there=True)

    def ask(self, name: str) -> None:
        """Nginx -s quit, reload or reopen."""
        quietly(
            "nginx",
            "-c",
            str(self.work / "nginx.conf"),
            "-e",
            str(self.work / "error.log"),
            "-s",
            name,
        )

    def restart(self) -> None:
        """A clean restart."""
        self.ask("quit")
        self._wait(there=False)
        self.start()

    def _wait(self, there: bool) -> None:
        for _ in range(150):
            if (self.work / "nginx.pid").exists() is there:
                return
            time.sleep(0.1)

    def start_backend(self) -> None:
        """Start the shop and wait until it answers."""
        script = Path(__file__).with_name("shop_backend.py")
        self.backend.append(subprocess.Popen([sys.executable, str(script), str(BACKEND)]))
        time.sleep(1.0)

    def tell_backend(self, number: signal.Signals) -> None:
        """Send a signal to the shop."""
        self.backend[-1].send_signal(number)
        if number == signal.SIGKILL:
            self.backend[-1].wait()

    def stop(self) -> None:
        """End both."""
        self.ask("stop")
        if self.backend and self.backend[-1].poll() is None:
            self.tell_backend(signal.SIGKILL)
