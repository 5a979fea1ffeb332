"""Access logs of load balancers and of IIS: HAProxy, AWS, W3C extended."""

from __future__ import annotations

import re
from datetime import UTC, tzinfo

from logmlm.parsing.formats.line_format import Groups, PatternFormat
from logmlm.parsing.formats.timestamps import CLOCK, ISO_T, MONTH
from logmlm.parsing.formats.web import QUOTED, split_request

_HAPROXY = (
    r"(?:<\d{1,3}>)?(?:(?:[A-Z][a-z]{2} {1,2}\d\d? [\d:]{8}|"
    r"\d{4}-\d\d-\d\dT[\d:.,]{8,18}(?:Z|[+-][\d:]{4,5})?) (?P<host>\S+) +)?"
    r"(?:(?P<service>[\w./-]{1,100})\[(?P<pid>\d+)\]: )?"
    rf"(?P<client>[\da-fA-F.:]{{2,45}}|unix):\d+ "
    rf"\[(?P<_day>\d\d)/{MONTH}/(?P<_year>\d{{4}}):{CLOCK}\] "
    r"(?P<frontend>\S+) (?P<backend>[^\s/]+)/(?P<server>\S+) [-+\d/]+ (?:(?P<status>-1|\d{3}) )?"
    r"\+?(?P<bytes>\d+) (?:\S+ \S+ )?(?P<termination>[-\w]{2,4}) [+\d/]+ \d+/\d+"
    rf'(?: \{{[^}}]*\}}){{0,2}}(?P<_http> "(?P<_request>{QUOTED})"?)?(?:\s.*)?$'
)
_ALB = (
    r"(?:(?P<type>https?|h2|grpcs|wss?) )?"
    rf"{ISO_T} (?P<balancer>\S+) (?P<client>\S+):\d+ (?P<target>\S+) [-\d.]+ [-\d.]+ [-\d.]+ "
    r"(?P<status>\d{3}|-) (?P<target_status>\d{3}|-) (?P<received>\d+) (?P<bytes>\d+) "
    rf'"(?P<_request>{QUOTED})" "(?P<user_agent>{QUOTED})"'
    rf'(?: \S+ \S+ \S+ "(?P<trace_id>{QUOTED})" "(?P<domain>{QUOTED})")?.*'
)
_IP = r"[\da-fA-F.:%]{2,60}"
_IIS = (
    r"(?P<timestamp>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:(?P<site>W3SVC\d+) )?(?:(?P<host>[\w-]+) )?"
    rf"(?P<server>{_IP}) (?P<method>[A-Z]+) (?P<path>\S+) (?P<query>\S+) (?P<port>\d+|-) "
    rf"(?P<user>\S+) (?P<client>{_IP}) (?:HTTP/[\d.]+ )?(?P<user_agent>\S+)(?: (?P<referrer>https?://\S+|-))?"
    r"(?: \S+){0,2}? (?P<status>\d{3}) \d+ \d+(?: \d+){0,3}\s*$"
)
_IIS_HEADER = re.compile(r"#(?:Software|Version|Date|Fields|Start-Date|End-Date|Remark):")
_HOST_OF_TARGET = re.compile(r"[a-z]+://[^/\s?]*")


def haproxy(zone: tzinfo) -> PatternFormat:
    """HAProxy's HTTP and TCP logs, with the header of syslog or without."""
    return PatternFormat(
        "haproxy", re.compile(_HAPROXY, re.ASCII), zone, "discard", _request_of_haproxy
    )


def alb(zone: tzinfo) -> PatternFormat:
    """AWS' application and classic load balancers."""
    return PatternFormat("alb", re.compile(_ALB, re.ASCII), zone, "discard", _request_of_alb)


def iis(zone: tzinfo) -> PatternFormat:  # noqa: ARG001  these logs are always in UTC
    """IIS in the W3C extended format, with the fields that IIS 6 and later select by themselves.

    The lines that begin with `#` (`#Fields:` and others) are comments.
    """
    return PatternFormat(
        "iis",
        re.compile(_IIS, re.ASCII),
        UTC,
        "discard",
        _request_of_iis,
        comment=_IIS_HEADER,
    )


def _request_of_haproxy(groups: Groups) -> Groups:
    if "_http" not in groups:
        connection = groups["frontend"], f"{groups['backend']}/{groups['server']}"
        groups["message"] = " ".join((*connection, groups["termination"]))
        return groups
    return _with_message(groups, groups.get("_request", "-"))


def _request_of_alb(groups: Groups) -> Groups:
    request = groups.get("_request", "-")
    return _with_message(groups, _HOST_OF_TARGET.sub("", request, count=1))


def _request_of_iis(groups: Groups) -> Groups:
    groups["message"] = f"{groups['method']} {groups['path']} {groups['status']}"
    return groups


def _with_message(groups: Groups, request: str) -> Groups:
    """`METHOD /path STATUS` as the message, as in access logs; the query is an attribute."""
    split_request(groups, request)
    if "method" in groups:
        request = f"{groups['method']} {groups['path']}"
    groups["message"] = f"{request} {groups.get('status', '-')}"
    return groups
