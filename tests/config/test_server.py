"""Addresses are read as they are written, and nothing listens by default."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from logmlm.config.loader import read_run_config
from logmlm.config.server import LogConfig, ServerAddress, ServerConfig

RUN = "model: {path: m}\nsource: {stdin: {}}\n"


def listen(tmp_path: Path, text: str):
    path = tmp_path / "c.yaml"
    path.write_text(f"{RUN}http: {{listen: {text}}}\n")
    return read_run_config(path).http.listen


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", ServerAddress("127.0.0.1", 9464)),
        ("localhost:0", ServerAddress("localhost", 0)),
        ("'[::1]:9464'", ServerAddress("::1", 9464)),
        ("9464", ServerAddress("127.0.0.1", 9464)),
        ("'9464'", ServerAddress("127.0.0.1", 9464)),
        ("off", None),
        ("'off'", None),
        ("false", None),
    ],
)
def test_an_address_is_read(tmp_path, text, address):
    assert listen(tmp_path, text) == address


def test_nothing_listens_unless_told():
    assert ServerConfig().listen is None
    assert LogConfig() == LogConfig(format="auto", level="info")


@pytest.mark.parametrize(
    "text", [":9464", "localhost", "h:65536", "::1:80", "h:80/x", "a b:80", 70000, "70000"]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValidationError, match=r"write it like 127\.0\.0\.1:9464, or off"):
        ServerConfig(listen=text)


@pytest.mark.parametrize("value", [True, 70000, ["127.0.0.1"]])
def test_neither_is_what_is_no_text(value):
    with pytest.raises(ValidationError):
        ServerConfig(listen=value)


def test_an_address_is_shown_as_it_is_written():
    assert str(ServerAddress("::1", 80)) == "[::1]:80"
    assert str(ServerAddress("127.0.0.1", 80)) == "127.0.0.1:80"
