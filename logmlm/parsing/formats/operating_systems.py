"""Logs of operating systems: Linux' audit and kernel logs, Android's logcat."""

from __future__ import annotations

import re
from datetime import tzinfo

from logmlm.parsing.formats.levels import syslog_level
from logmlm.parsing.formats.line_format import Groups, PatternFormat
from logmlm.parsing.formats.timestamps import CLOCK, CTIME

_AUDIT = (
    r"(?:node=(?P<host>\S+) )?type=(?P<type>[\w\[\]]+) msg=audit\((?P<_epoch>\d{9,10}\.\d{3}):"
    r"(?P<serial>\d+)\):(?: (?P<message>.*)|$)"
)
_AUDIT_PAIR = re.compile(
    r"(?<![\w-])(pid|auid|exe|comm|acct|addr|key)=(?:\"([^\"]*)\"|([^\s'\"]+))"
)
_AUDIT_NAMES = {"acct": "user", "addr": "client", "key": "rule"}
_NO_VALUE = ("?", "(null)", "")
_DMESG = (
    r"(?:<(?P<_pri>\d{1,3})>|(?P<facility>[a-z\d]{2,10}) *:(?P<level>[a-z]+) *: *)?"
    rf"\[(?: *(?P<uptime>\d+\.\d{{6}})|{CTIME})\](?:\[ *[TC]\d+\])? (?P<message>\S.*)"
)
_LOGCAT = (
    r"(?:(?P<_year>\d{4})-)?(?P<_month>\d\d)-(?P<_day>\d\d) "
    rf"{CLOCK} +(?P<pid>\d+) +(?P<_thread>\d+) (?P<level>[VDIWEFA]) "
    r"(?P<logger>[^:\s][^:]{0,200}?) *: ?(?P<message>.*)"
)
_LOGCAT_BUFFER = re.compile(r"--------- (?:beginning of|switch to) \w")
_AUSEARCH = re.compile(r"----\s*$|time->\w")
"""Between the events that ausearch prints."""


def auditd(zone: tzinfo) -> PatternFormat:
    """Linux' audit log: `type=… msg=audit(time:serial): …`; the message begins with the type."""
    return PatternFormat(
        "auditd",
        re.compile(_AUDIT, re.ASCII),
        zone,
        normalize=_type_of_audit,
        extra_attributes=_pairs_of_audit,
        added_names=frozenset(("pid", "auid", "exe", "comm", "user", "client", "rule")),
        digit_dependent=frozenset(("type",)),
        comment=_AUSEARCH,
    )


def dmesg(zone: tzinfo) -> PatternFormat:
    """The kernel's log as dmesg prints it, also with `-T`, `-x` and `--raw`.

    Seconds since the start are no time: without `-T` an event has the time when it was received.
    """
    return PatternFormat(
        "dmesg",
        re.compile(_DMESG, re.ASCII),
        zone,
        normalize=_level_of_dmesg,
        digit_dependent=frozenset(("_pri",)),
    )


def logcat(zone: tzinfo) -> PatternFormat:
    """Android's logcat (`-v threadtime`, `-v year`): `mm-dd time pid tid level tag: message`."""
    return PatternFormat(
        "logcat",
        re.compile(_LOGCAT, re.ASCII),
        zone,
        normalize=_thread_of_logcat,
        added_names=frozenset(("thread.id",)),
        digit_dependent=frozenset(),
        comment=_LOGCAT_BUFFER,
    )


def _type_of_audit(groups: Groups) -> Groups:
    groups["message"] = f"{groups['type']} {groups.get('message', '')}"
    return groups


def _pairs_of_audit(groups: Groups) -> Groups:
    for name, quoted, bare in _AUDIT_PAIR.findall(groups["message"]):
        value = quoted or bare
        if value not in _NO_VALUE:
            groups.setdefault(_AUDIT_NAMES.get(name, name), value)
    return groups


def _level_of_dmesg(groups: Groups) -> Groups:
    if "_pri" in groups:
        groups["level"] = syslog_level(str(int(groups["_pri"]) % 8))
    return groups


def _thread_of_logcat(groups: Groups) -> Groups:
    groups["thread.id"] = groups["_thread"]
    return groups
