"""Databases: PostgreSQL and Redis."""

from __future__ import annotations

import re
from datetime import tzinfo
from types import MappingProxyType

from logmlm.parsing.formats.line_format import Groups, PatternFormat
from logmlm.parsing.formats.timestamps import ISO_LOCAL, PADDED, REDIS
from logmlm.parsing.formats.translated_levels import TRANSLATED

_THREAD = "thread.id"
_PG_OTHERS = "|".join(map(re.escape, sorted(TRANSLATED, key=len, reverse=True)))
# The lookahead passes most places without trying each of the words.
_PG_LEVEL = (
    r"(?P<level>(?=[A-Z\x80-\uffff])(?:LOG|ERROR|FATAL|PANIC|WARNING|NOTICE|INFO|DEBUG\d?"
    rf"|DETAIL|HINT|QUERY|CONTEXT|STATEMENT|LOCATION|BACKTRACE|{_PG_OTHERS}))"
)
_POSTGRESQL = (
    rf"{ISO_LOCAL}(?: (?P<_zone>[A-Z]{{2,5}}|[+-]\d\d(?::?\d\d)?))?"
    r"(?: |:(?P<client>[^:(\s]*)(?:\(\d+\))?:(?P<user>[^@:\s]*)@(?P<db>[^:\s]*):)"
    r"\[(?P<pid>\d+)(?:-\d+)?\]:? ?(?:\[\d+(?:-\d+)?\] ?)?"
    rf"(?:(?P<_who>.{{1,300}}?) )??{_PG_LEVEL} ?:(?:\s+|$)(?P<message>.*)"
)
_PG_PAIR = re.compile(r"(user|db|app|client|host)=([^,]*?)(?=,|\s\w+=|\s*$)")
_PG_USER = re.compile(r"(?P<user>[^@\s]*)@(?P<db>[^\s/]*)[ /]?(?P<rest>.*)")
_PG_CLIENT = re.compile(r"(?P<client>\[local\]|[0-9a-fA-F]*[.:][0-9a-fA-F.:]+)(?:\(\d+\))?$")

_MYSQL = (
    rf"{PADDED} (?P<_thread>\d+|[\da-f]{{8,16}}) "
    r"\[(?P<level>System|Note|Warning|ERROR|Error|Info)\] "
    r"(?:\[(?P<code>MY-\d+)\] \[(?P<subsystem>\w+)\] )?(?P<message>.*)"
)
_MYSQL_SLOW = (
    r"(?:# Time: (?:(?P<timestamp>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?"
    r"(?:Z|[+-]\d\d:\d\d)?))?[^\n]*+\n)?"
    r"# User@Host: (?P<user>[^\s\[]*)\[[^\]]*\] @ *+(?P<_host>[^\s\[]*+) *+\[(?P<_address>[^\]]*)\]"
    r"(?:\s++Id: *+(?P<_thread>\d++))?[^\n]*+\n"
    r"(?:# Thread_id: \d++  Schema: (?P<db>\S*+)[^\n]*+\n)?"
    r"(?:# Query_time: (?P<query_time>[\d.]++) ++Lock_time: (?P<lock_time>[\d.]++)"
    r" ++Rows_sent: (?P<rows_sent>\d++) ++Rows_examined: (?P<rows_examined>\d++)[^\n]*+\n)?"
    r"(?:#[^\n]*+\n)*+(?:use (?P<_db>[^;\n]*);\n)?(?:SET timestamp=(?P<_epoch>\d{9,10});\n)?"
    r"(?P<message>[\s\S]*)"
)
_MYSQL_HEAD = re.compile(
    r"\S+, Version: .* started with:|Tcp port: \d+ |Time +Id +Command +Argument"
)
_REDIS = rf"(?P<pid>\d+):(?P<role>[A-Za-z]) {REDIS} (?P<_level>[.*#-]) (?P<message>.*)"
_REDIS_LEVELS = MappingProxyType({".": "DEBUG", "-": "INFO", "*": "NOTICE", "#": "WARNING"})
"""The severities that Redis itself gives to syslog (server.c, syslogLevelMap)."""


def postgresql(zone: tzinfo) -> PatternFormat:
    """PostgreSQL's stderr log with the common forms of log_line_prefix.

    `%m [%p] `, `%m [%p] %q%u@%d `, `%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h `, and
    `%t:%r:%u@%d:[%p]:`. DETAIL, HINT, STATEMENT, CONTEXT are lines of their own, of that
    level, in English or another language of PostgreSQL. A zone's name that stands for several
    zones is read as the configured one.
    """
    pattern = re.compile(_POSTGRESQL, re.ASCII)
    adds = frozenset(("user", "db", "app", "client"))
    return PatternFormat(
        "postgresql", pattern, zone, extra_attributes=_who_of_postgresql, added_names=adds
    )


def mysql(zone: tzinfo) -> PatternFormat:
    """The error logs of MySQL 5.6 and later and of MariaDB, which pads the hour with a blank."""
    return PatternFormat(
        "mysql",
        re.compile(_MYSQL, re.ASCII),
        zone,
        normalize=_thread_of_mysql,
        added_names=frozenset((_THREAD,)),
        digit_dependent=frozenset(),
    )


def mysql_slow(zone: tzinfo) -> PatternFormat:
    """The slow query log of MySQL and MariaDB: the lines of a query are one event.

    The statement is the message, without its line ends.
    """
    return PatternFormat(
        "mysql_slow",
        re.compile(_MYSQL_SLOW, re.ASCII),
        zone,
        normalize=_query_of_mysql,
        comment=_MYSQL_HEAD,
        reads_all=True,
    )


def redis(zone: tzinfo) -> PatternFormat:
    """`pid:role dd Mon yyyy hh:mm:ss.mmm level message`; before Redis 5 without the year."""
    pattern = re.compile(_REDIS, re.ASCII)
    return PatternFormat(
        "redis", pattern, zone, normalize=_level_of_redis, digit_dependent=frozenset()
    )


def _who_of_postgresql(groups: Groups) -> Groups:
    who = groups.get("_who", "")
    if "=" in who:
        pairs = {name: value for name, value in _PG_PAIR.findall(who) if value}
        client = pairs.pop("host", None)
        return groups | pairs | ({} if client is None else {"client": client})
    match = _PG_USER.match(who)
    if match is None:
        return groups
    groups |= {"user": match["user"], "db": match["db"]}
    for word in match["rest"].split():
        client_found = _PG_CLIENT.match(word)
        if client_found is None:
            groups["app"] = f"{groups['app']} {word}" if "app" in groups else word
        else:
            groups["client"] = client_found["client"]
    return groups


def _thread_of_mysql(groups: Groups) -> Groups:
    groups[_THREAD] = groups["_thread"]
    return groups


def _query_of_mysql(groups: Groups) -> Groups:
    groups["message"] = " ".join(groups.get("message", "").split())
    client, database = groups.get("_address") or groups.get("_host"), groups.get("_db")
    return (
        groups
        | ({"client": client} if client else {})
        | ({"db": database} if database else {})
        | ({_THREAD: groups["_thread"]} if "_thread" in groups else {})
    )


def _level_of_redis(groups: Groups) -> Groups:
    groups["level"] = _REDIS_LEVELS[groups["_level"]]
    return groups
