"""Which line formats there are, and how to get one by name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, tzinfo
from difflib import get_close_matches
from types import MappingProxyType
from zoneinfo import ZoneInfo

from logmlm.config import FormatConfig
from logmlm.errors import ConfigError
from logmlm.formats.clusters import bgl, thunderbird
from logmlm.formats.containers import cri, docker
from logmlm.formats.custom import custom
from logmlm.formats.databases import postgresql, redis
from logmlm.formats.general import iso8601, plain
from logmlm.formats.json_lines import json_lines
from logmlm.formats.line_format import LineFormat
from logmlm.formats.log4j import hadoop, hdfs, kafka, spark, zookeeper
from logmlm.formats.syslog import rfc5424, syslog
from logmlm.formats.web import access, apache, nginx

_BUILDERS: MappingProxyType[str, Callable[[tzinfo], LineFormat]] = MappingProxyType(
    {
        "rfc5424": rfc5424,
        "bgl": bgl,
        "thunderbird": thunderbird,
        "cri": cri,
        "docker": docker,
        "json": json_lines,
        "access": access,
        "nginx": nginx,
        "apache": apache,
        "postgresql": postgresql,
        "redis": redis,
        "kafka": kafka,
        "zookeeper": zookeeper,
        "hdfs": hdfs,
        "spark": spark,
        "hadoop": hadoop,
        "syslog": syslog,
        "iso8601": iso8601,
        "plain": plain,
    }
)

FORMATS: tuple[str, ...] = tuple(_BUILDERS)
"""Names of the built-in formats, the strictest first, as `auto` tries them."""


def get_format(config: FormatConfig) -> LineFormat:
    """Return the format called `config.name`: one of `config.custom`, else a built-in one.

    Raises:
        ConfigError: there is none of that name (the text names the nearest), the name is
            `auto`, or the format's settings or the time zone can't be used.

    """
    zone = _zone(config)
    if config.name in config.custom:
        return custom(config.name, config.custom[config.name], zone)
    if config.name in _BUILDERS:
        return _BUILDERS[config.name](zone)
    if config.name == "auto":
        raise ConfigError("format.name is 'auto', which lines have to decide: name a format here")
    raise ConfigError(_unknown(config))


def candidates(config: FormatConfig) -> tuple[LineFormat, ...]:
    """List the formats that `auto` tries, in order: custom ones, then all but `plain`.

    Raises:
        ConfigError: a custom format's settings or the time zone can't be used.

    """
    zone = _zone(config)
    own = [custom(name, settings, zone) for name, settings in config.custom.items()]
    known = [
        build(zone) for name, build in _BUILDERS.items() if name not in ("plain", *config.custom)
    ]
    return (*own, *known)


def _unknown(config: FormatConfig) -> str:
    names = [*config.custom, *FORMATS]
    nearest = get_close_matches(config.name.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    return f"format '{config.name}' is unknown; {hint}known are auto, {', '.join(names)}"


def _zone(config: FormatConfig) -> tzinfo:
    if config.timezone == "UTC":
        return UTC  # many times faster than the same zone read from a file
    try:
        return ZoneInfo(config.timezone)
    except (KeyError, ValueError, OSError) as error:  # unknown; no name; a folder of names
        raise ConfigError(
            f"format.timezone '{config.timezone}' is unknown; take a name like Europe/Berlin or UTC"
        ) from error
