"""The program's own log is one line a thing: JSON for programs, plain for people."""

import io
import json
import logging
import socket
import threading
import warnings

import pytest
from http_parts import alert

from logmlm.alerting.notification import build_single
from logmlm.alerting.sinks.webhook import WebhookSink
from logmlm.config.server import LogConfig
from logmlm.config.sinks import WebhookConfig
from logmlm.daemon.log_setup import logging_configured

logger = logging.getLogger("logmlm.test")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def objects(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_where_no_person_watches_each_line_is_an_object():
    stream = io.StringIO()
    with logging_configured(stream, LogConfig()):
        marks = {"_mark": 1, "receiver": "hook"}  # the first as libraries make them
        logger.info("read %d\nlines", 3, extra=marks)
    (found,) = objects(stream)
    time = found.pop("time")
    assert time.endswith("Z")
    assert "T" in time
    assert found == {
        "level": "info",
        "message": "read 3\nlines",
        "logger": "logmlm.test",
        "receiver": "hook",
    }


def test_a_person_gets_plain_lines():
    stream = Terminal()
    with logging_configured(stream, LogConfig()):
        logger.warning("one\r\ntwo")
    assert stream.getvalue() == "logmlm: one\\r\\ntwo\n"


@pytest.mark.parametrize(("form", "stream"), [("json", Terminal()), ("text", io.StringIO())])
def test_the_format_can_be_chosen(form, stream):
    with logging_configured(stream, LogConfig(format=form)):
        logger.error("x")
    assert stream.getvalue().startswith("{" if form == "json" else "logmlm: x\n")


def test_a_traceback_stays_on_its_line():
    stream = io.StringIO()
    with logging_configured(stream, LogConfig()):
        try:
            raise ValueError("why")
        except ValueError:
            logger.exception("it broke")
    (found,) = objects(stream)
    assert found["level"] == "error"
    assert "ValueError: why" in found["traceback"]


def test_the_level_is_held_and_given_back():
    stream, before = io.StringIO(), logging.getLogger().level
    with logging_configured(stream, LogConfig(level="warning")):
        logger.info("quiet")
        logger.warning("loud")
    logger.error("after")
    assert [found["message"] for found in objects(stream)] == ["loud"]
    assert logging.getLogger().level == before


def test_pythons_own_warnings_are_lines_too():
    stream = io.StringIO()
    with logging_configured(stream, LogConfig()), warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "DeprecationWarning: old" in objects(stream)[0]["message"]


@pytest.mark.parametrize("header", ["X: y", "no colon, so that the library complains"])
def test_a_receivers_address_is_not_in_the_log_at_any_level(header):
    stream, library = io.StringIO(), logging.getLogger("urllib3")
    before = library.level
    answer = f"HTTP/1.1 500 Oops\r\n{header}\r\nContent-Length: 0\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/services/hunter2"
        with logging_configured(stream, LogConfig(level="debug")):
            logger.debug("heard")
            told = WebhookSink(WebhookConfig(url=url), clock=lambda: 0.0).send(
                build_single(alert())
            )
        thread.join()
    assert told.outcome == "later"
    assert "heard" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()
    assert library.level == before
