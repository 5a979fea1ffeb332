"""Which line formats there are, and how to get one by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, tzinfo
from difflib import get_close_matches
from types import MappingProxyType
from zoneinfo import ZoneInfo

from logmlm.config.training import FormatConfig
from logmlm.errors import ConfigError
from logmlm.parsing.formats.applications import (
    celery,
    elasticsearch,
    go,
    jul,
    klog,
    logback,
    loguru,
    python,
    rails,
    ruby,
    spring,
    zap,
)
from logmlm.parsing.formats.containers import cri, docker
from logmlm.parsing.formats.custom import custom
from logmlm.parsing.formats.databases import mysql, mysql_slow, postgresql, redis
from logmlm.parsing.formats.dated import dated
from logmlm.parsing.formats.generic import iso8601, plain_text
from logmlm.parsing.formats.json_lines import FieldNames, json_lines
from logmlm.parsing.formats.line_format import LineFormat, PatternFormat
from logmlm.parsing.formats.log4j import hadoop, hdfs, kafka, spark, zookeeper
from logmlm.parsing.formats.logfmt import logfmt
from logmlm.parsing.formats.operating_systems import auditd, dmesg, logcat
from logmlm.parsing.formats.proxies import alb, haproxy, iis
from logmlm.parsing.formats.supercomputers import bgl, thunderbird
from logmlm.parsing.formats.syslog import rfc5424, syslog
from logmlm.parsing.formats.web import access, apache, nginx

_BUILDERS: MappingProxyType[str, Callable[[tzinfo], LineFormat]] = MappingProxyType(
    {
        "rfc5424": rfc5424,
        "bgl": bgl,
        "thunderbird": thunderbird,
        "cri": cri,
        "docker": docker,
        "json": json_lines,
        "haproxy": haproxy,
        "alb": alb,
        "iis": iis,
        "access": access,
        "nginx": nginx,
        "apache": apache,
        "auditd": auditd,
        "klog": klog,
        "logcat": logcat,
        "elasticsearch": elasticsearch,
        "celery": celery,
        "ruby": ruby,
        "rails": rails,
        "jul": jul,
        "mysql": mysql,
        "mysql_slow": mysql_slow,
        "postgresql": postgresql,
        "redis": redis,
        "kafka": kafka,
        "zookeeper": zookeeper,
        "hdfs": hdfs,
        "spark": spark,
        "hadoop": hadoop,
        "logback": logback,
        "spring": spring,
        "python": python,
        "loguru": loguru,
        "zap": zap,
        "dmesg": dmesg,
        "logfmt": logfmt,
        "syslog": syslog,
        "go": go,
        "iso8601": iso8601,
        "plain": plain_text,
    }
)

_OF_FIELDS: MappingProxyType[str, Callable[[tzinfo, FieldNames | None], LineFormat]] = (
    MappingProxyType({"cri": cri, "docker": docker, "json": json_lines})
)
"""Formats whose fields may have names of the user's own."""

FORMATS: tuple[str, ...] = tuple(_BUILDERS)
"""Names of the built-in formats, the strictest first, as `auto` tries them."""


def get_format(config: FormatConfig) -> LineFormat:
    """Return the format called `config.name`: one of `config.custom`, else a built-in one.

    Raises:
        ConfigError: there is none of that name (the text names the nearest), the name is
            `auto`, or the format's settings or the time zone can't be used, or fields are named
            for a format that has none.

    """
    zone, names = _zone(config), _field_names(config)
    if config.name in config.custom:
        return custom(config.name, config.custom[config.name], zone)
    if config.name in _OF_FIELDS:
        return _OF_FIELDS[config.name](zone, names)
    if config.name in _BUILDERS:
        return _lenient(_BUILDERS[config.name](zone), zone)
    if config.name == "auto":
        raise ConfigError("format.name is 'auto', which lines have to decide: name a format here")
    raise ConfigError(_unknown(config))


def auto_candidates(config: FormatConfig) -> tuple[LineFormat, ...]:
    """List the formats that `auto` tries, in order: custom ones, then all but `plain_text`.

    Raises:
        ConfigError: a custom format's settings or the time zone can't be used.

    """
    names = _field_names(config)
    tried = _OF_FIELDS if names is not None else _BUILDERS
    known = [name for name in tried if name not in ("plain", *config.custom)]
    own = config.custom if names is None else {}
    return tuple(get_format(config.model_copy(update={"name": name})) for name in (*own, *known))


def _field_names(config: FormatConfig) -> FieldNames | None:
    """The names of fields that a config gives; with them only formats that have fields will do."""
    names = FieldNames(config.message_field, config.time_field, config.level_field)
    if names == FieldNames():
        return None
    if config.name not in ("auto", *_OF_FIELDS) or config.name in config.custom:
        raise ConfigError(
            "format.message_field, time_field and level_field name fields of JSON, which format"
            f" '{config.name}' has not; take {', '.join(_OF_FIELDS)}, or leave them out"
        )
    return names


def _lenient(line_format: LineFormat, zone: tzinfo) -> LineFormat:
    """Return the format with a reader for lines that begin with a date and do not match."""
    if isinstance(line_format, PatternFormat) and line_format.continuation == "join":
        return replace(line_format, lenient=dated(zone, line_format.name == "syslog"))
    return line_format


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
