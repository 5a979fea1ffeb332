"""Container runtimes: the CRI text format and Docker's JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import tzinfo

from logmlm.parsing.formats.json_lines import FieldNames, JsonObject, load_object
from logmlm.parsing.formats.line_format import PARTIAL, Continuation, PatternFormat, first_line
from logmlm.parsing.formats.nested import around, inner_fields
from logmlm.parsing.formats.timestamps import ISO_T, read_field
from logmlm.records import Fields

_CRI = (
    rf"{ISO_T} (?P<stream>stdout|stderr) (?P<logtag>[{PARTIAL}F])(?::\S*)?(?: (?P<message>.*)|\s*$)"
)
_DOCKER_BUFFER = 16 * 1024


@dataclass(frozen=True)
class CriFormat(PatternFormat):
    """Lines whose message may be a record itself, or a part of one: see `cri`."""

    names: FieldNames | None = None

    def parse(self, text: str, now: float) -> Fields | None:
        """See `LineFormat.parse`; parts that were joined to one text are read together."""
        fields = PatternFormat.parse(self, text, now)
        if fields is None:
            return None
        if fields.partial:
            if "\n" not in text:
                return fields
            fields = self._joined(fields, text.lstrip("\r\n").split("\n")[1:], now)
        return self.whole(fields) if "=" in fields.message or fields.message[:1] == "{" else fields

    def whole(self, fields: Fields) -> Fields:
        """Return the fields of a message, with those in it."""
        inner = None if fields.partial else inner_fields(fields.message, self.zone, self.names)
        return fields if inner is None else around(fields, inner)

    def ignores_digits(self, fields: Fields) -> bool:
        """See `PatternFormat`; whether a text is JSON may depend on its digits."""
        return super().ignores_digits(fields) and not fields.message.startswith("{")

    def _joined(self, first: Fields, rest: list[str], now: float) -> Fields:
        stream, messages, is_cut = first.attributes.get("log.iostream"), [first.message], True
        for line in rest:
            part = PatternFormat.parse(self, line, now)
            if part is None or part.attributes.get("log.iostream") != stream:
                break
            messages.append(part.message)
            is_cut = part.partial
        message = "".join(messages)
        return replace(first, message=message if is_cut else message.strip(), partial=is_cut)


@dataclass(frozen=True, slots=True)
class DockerFormat:
    """Docker's objects, whose log may be a record itself, or a part of one: see `docker`."""

    zone: tzinfo
    names: FieldNames | None = None
    name: str = "docker"
    continuation: Continuation = "discard"

    def parse(self, text: str, now: float) -> Fields | None:  # noqa: ARG002  JSON's dates have years
        """See `LineFormat.parse`; parts that were joined to one text are read together."""
        fields = self._part(text)
        if fields is None and "\n" in text:
            fields = self._joined(text.lstrip("\r\n").split("\n"))
        if fields is None or fields.partial:
            return fields
        return self.whole(fields) if "=" in fields.message or fields.message[:1] == "{" else fields

    def whole(self, fields: Fields) -> Fields:
        """Return the fields of a message, with those in it."""
        inner = inner_fields(fields.message, self.zone, self.names)
        return fields if inner is None else around(fields, inner)

    def _joined(self, lines: list[str]) -> Fields | None:
        fields = self._part(lines[0])
        for line in lines[1:]:
            if fields is None or not fields.partial or (part := self._part(line)) is None:
                break
            message = fields.message + part.message
            fields = replace(fields, message=message, partial=part.partial)
        return fields

    def _part(self, text: str) -> Fields | None:
        record = load_object(text)
        return None if record is None else _docker_fields(record, self.zone)


def cri(zone: tzinfo, names: FieldNames | None = None) -> CriFormat:
    """Kubernetes' container logs: `time stream P|F message`, P where the rest follows.

    Of a message that is JSON or logfmt, message, level, time and fields are those in it; `names`
    are those of its fields.

    Source: kubernetes/design-proposals-archive, node/kubelet-cri-logging.md.
    """
    return CriFormat("cri", re.compile(_CRI, re.ASCII), zone, "discard", names=names)


def docker(zone: tzinfo, names: FieldNames | None = None) -> DockerFormat:
    """Docker's json-file driver: `{"log": ..., "stream": ..., "time": ...}`; else as `cri`."""
    return DockerFormat(zone, names)


def _docker_fields(record: JsonObject, zone: tzinfo) -> Fields | None:
    log, stream, time = record.get("log"), record.get("stream"), record.get("time")
    if not (isinstance(log, str) and isinstance(stream, str) and isinstance(time, str)):
        return None
    cut = _is_cut(log)
    attributes = {"log.iostream": stream}
    if cut:
        attributes["logtag"] = PARTIAL
    if "attrs" in record:
        attributes |= _extra(record["attrs"])
    message = log if cut else first_line(log.strip())
    return Fields(read_field(time, zone), "", message, attributes, partial=cut)


def _extra(attributes: object) -> dict[str, str]:
    """Labels and variables that Docker is told to write beside each line (`--log-opt labels`)."""
    if not isinstance(attributes, dict):
        return {}
    return {name: value for name, value in attributes.items() if isinstance(value, str)}


def _is_cut(log: str) -> bool:
    """Docker cuts a message at its buffer's size, in bytes (moby, daemon/logger/copier.go)."""
    return not log.endswith("\n") and len(log.encode(errors="replace")) >= _DOCKER_BUFFER
