"""Container runtimes: the CRI text format and Docker's JSON."""

from __future__ import annotations

import re
from datetime import tzinfo

from logmlm.formats.json_lines import JsonFormat, Record
from logmlm.formats.line_format import PARTIAL, PatternFormat, first_line
from logmlm.formats.timestamps import ISO_T, read_field
from logmlm.records import Fields

_CRI = (
    rf"{ISO_T} (?P<stream>stdout|stderr) (?P<logtag>[{PARTIAL}F])(?::\S*)?(?: (?P<message>.*)|\s*$)"
)
_DOCKER_BUFFER = 16 * 1024


def cri(zone: tzinfo) -> PatternFormat:
    """Kubernetes' container logs: `time stream P|F message`, P where the rest follows.

    Source: kubernetes/design-proposals-archive, node/kubelet-cri-logging.md.
    """
    return PatternFormat("cri", re.compile(_CRI, re.ASCII), zone, "discard")


def docker(zone: tzinfo) -> JsonFormat:
    """Docker's json-file driver: `{"log": ..., "stream": ..., "time": ...}`."""
    return JsonFormat("docker", zone, _docker_fields)


def _docker_fields(record: Record, zone: tzinfo) -> Fields | None:
    log, stream, time = record.get("log"), record.get("stream"), record.get("time")
    if not (isinstance(log, str) and isinstance(stream, str) and isinstance(time, str)):
        return None
    cut = _is_cut(log)
    attributes = {"log.iostream": stream} | ({"logtag": PARTIAL} if cut else {})
    message = log if cut else first_line(log.strip())
    return Fields(read_field(time, zone), "", message, attributes, partial=cut)


def _is_cut(log: str) -> bool:
    """Docker cuts a message at its buffer's size, in bytes (moby, daemon/logger/copier.go)."""
    return not log.endswith("\n") and len(log.encode(errors="replace")) >= _DOCKER_BUFFER
