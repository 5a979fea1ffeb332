"""Web servers: access logs (common and combined), and Apache's and nginx's error logs."""

from __future__ import annotations

import re
from datetime import tzinfo

from logmlm.parsing.formats.line_format import Groups, PatternFormat
from logmlm.parsing.formats.timestamps import CLF, CTIME, SLASHED

_QUOTED = r'[^"\\]*+(?:\\.[^"\\]*+)*+'
QUOTED = _QUOTED
_ADDRESS = r"(?:\d{1,3}(?:\.\d{1,3}){3}|(?=[\da-fA-F]{0,4}:)[\da-fA-F:.]{2,45})"
_ACCESS = (
    rf"(?:(?:(?P<server>[^\s,]+):\d+|(?P<_host>[^\s,]+)(?= {_ADDRESS}[, ])) )?"
    r"(?P<client>[^\s,]+)(?:,[ +]?[^\s,]++)*+ \S+ (?P<user>.{1,100}?) "
    rf'\[{CLF}\] "(?P<_request>{_QUOTED})" (?P<status>\d{{3}}) (?P<bytes>\d+|-)'
    rf'(?: "(?P<referrer>{_QUOTED})" "(?P<user_agent>{_QUOTED})")?(?:\s.*)?$'
)
_REQUEST = re.compile(r"(?P<method>[A-Z]+) (?P<target>\S+)(?: HTTP/[\d.]+)?$", re.ASCII)
_APACHE = (
    rf"\[{CTIME}\] \[(?:(?P<module>[\w.-]*):)?(?P<level>\w+)\] "
    r"(?:\[pid (?P<pid>\d+)(?::tid (?P<_thread>\d+))?\] )?(?P<message>.*)"
)
_APACHE_CLIENT = re.compile(r"\[client (?P<client>[^\]\s]+)\] ")
_APACHE_REFERRER = re.compile(r", referer: (\S+)\s*$")
_NGINX = (
    rf"{SLASHED} \[(?P<level>\w+)\] (?P<pid>\d+)#(?P<_thread>\d+): "
    r"(?:\*(?P<connection>\d+) )?(?P<message>.*)"
)
_TAIL = ("client", "server", "upstream", "host", "referrer", "subrequest")
_THREAD = "thread.id"
_NGINX_TAIL = re.compile(rf'\b(\w+): (?:"({_QUOTED})"|([^,]*))(?:, |$)')


def access(zone: tzinfo) -> PatternFormat:
    """Build the common and combined format (Apache, nginx), with a virtual host or not.

    Of a list of addresses (X-Forwarded-For) the first is the client's.
    The message is `METHOD /path STATUS`; the query string is an attribute. A request that
    is none (scanners send bytes) stands in the message as it is.
    """
    pattern = re.compile(_ACCESS, re.ASCII)
    return PatternFormat(
        "access", pattern, zone, "discard", _request_of_access, added_names=frozenset(("server",))
    )


def apache(zone: tzinfo) -> PatternFormat:
    """Apache's error log, 2.2 and 2.4.

    In the layout of 2.4 the client leaves the message; in that of 2.2 it stays in it too,
    because the published messages of the Apache data set (loghub) have it.
    """
    return PatternFormat(
        "apache",
        re.compile(_APACHE, re.ASCII),
        zone,
        normalize=_client_of_apache,
        added_names=frozenset(("client", "referrer", _THREAD)),
        digit_dependent=frozenset(),
    )


def nginx(zone: tzinfo) -> PatternFormat:
    """Build the error log of nginx; `, client: ..., server: ...` at the end becomes attributes."""
    return PatternFormat(
        "nginx",
        re.compile(_NGINX, re.ASCII),
        zone,
        normalize=_tail_of_nginx,
        added_names=frozenset((*_TAIL, "http_host", "method", "path", "query", _THREAD)),
        digit_dependent=frozenset(),
    )


def _request_of_access(groups: Groups) -> Groups:
    request = groups.get("_request", "-")
    split_request(groups, request)
    if "method" in groups:
        request = f"{groups['method']} {groups['path']}"
    groups["message"] = f"{request} {groups['status']}"
    if "_host" in groups:
        groups["server"] = groups["_host"]
    return groups


def split_request(groups: Groups, request: str) -> None:
    """Put the method, path and query of a request among the groups, if it is one."""
    match = _REQUEST.match(request)
    if match is not None:
        groups["method"] = match["method"]
        groups["path"], _, groups["query"] = match["target"].partition("?")


def _client_of_apache(groups: Groups) -> Groups:
    groups = _thread_id(groups)
    message = groups.get("message", "")
    found = _APACHE_CLIENT.search(message)
    if "pid" not in groups:
        return groups if found is None else groups | {"client": found["client"]}
    if found is not None:
        groups["client"] = _without_port(found["client"])
        message = message[: found.start()] + message[found.end() :]
    referrer = _APACHE_REFERRER.search(message)
    if referrer is not None:
        groups["referrer"] = referrer[1]
        message = message[: referrer.start()]
    groups["message"] = message
    return groups


def _without_port(address: str) -> str:
    host, _, port = address.rpartition(":")
    return host if host and port.isdigit() else address


def _tail_of_nginx(groups: Groups) -> Groups:
    groups = _thread_id(groups)
    message, separator, tail = groups.get("message", "").partition(", client: ")
    groups["message"] = message
    for name, quoted, bare in _NGINX_TAIL.findall(f"client: {tail.rstrip()}" if separator else ""):
        if name == "request":
            split_request(groups, quoted)
        elif name in _TAIL:
            groups["http_host" if name == "host" else name] = quoted or bare
    return groups


def _thread_id(groups: Groups) -> Groups:
    """Put a thread's number under OpenTelemetry's `thread.id`, which no group can be called."""
    if "_thread" in groups:
        groups[_THREAD] = groups["_thread"]
    return groups
