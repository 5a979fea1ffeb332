"""Layouts of application loggers: Java, Python, Go, Ruby, and what Kubernetes is written with."""

from __future__ import annotations

import re
from datetime import tzinfo

from logmlm.parsing.formats.levels import LEVEL_WORDS
from logmlm.parsing.formats.line_format import Groups, PatternFormat
from logmlm.parsing.formats.timestamps import CLOCK, ISO, ISO_LOCAL, MONTH, SLASHED

_LEVEL = rf"(?P<level>{LEVEL_WORDS})"
_NAME = r"(?P<logger>[\w.$/\[\]-]{1,300})"
_LOGBACK = (
    rf"{ISO} +\[(?P<thread>[^\]]{{0,300}})\] +{_LEVEL} +"
    rf"{_NAME}(?: +[-:]|:)(?: +(?P<message>.*)|$)"
)
_SPRING = (
    rf"{ISO} +{_LEVEL} +(?:(?P<pid>\d{{1,10}}) +--- +)?(?:\[(?P<application>[^\[\]]{{0,100}})\] +)?"
    rf"\[ *(?P<thread>[^\]]{{0,300}})\] +{_NAME} +[-:](?: +(?P<message>.*)|$)"
)
_PYTHON = (
    rf"{ISO} - (?P<logger>[\w.$/:-]{{1,300}}) - (?:(?P<pid>\d{{1,10}}) - )?{_LEVEL} - "
    r"(?P<message>.*)"
)
_LOGURU = (
    rf"{ISO} \| {_LEVEL[:-1]}|SUCCESS) *\| (?P<logger>[\w.<>$-]{{1,300}}):"
    r"(?P<function>[\w.<>]{1,300}):(?P<line>\d+) - (?P<message>.*)"
)
_CELERY = rf"\[{ISO_LOCAL}: (?P<level>{LEVEL_WORDS})/(?P<worker>[\w.-]{{1,100}})\] (?P<message>.*)"
_ZAP = (
    rf"{ISO}\t(?P<level>(?i:{LEVEL_WORDS}|DPANIC))\t(?:(?P<logger>[^\s]{{1,300}})\t)??"
    r"(?P<source>[^\s:]{1,300}:\d+)\t(?P<message>.*)"
)
_KLOG = (
    r"(?P<level>[IWEF])(?P<_year>\d{4})?(?P<_month>\d\d)(?P<_day>\d\d) "
    rf"{CLOCK} +(?P<pid>\d+) (?P<source>[^\s\]]{{1,300}}:\d+)\](?: (?P<message>.*)|$)"
)
_GO = (
    rf"{SLASHED} (?:(?P<source>[\w./@+-]{{1,300}}\.go:\d+): )?"
    rf"(?:(?P<level>{LEVEL_WORDS})(?=[ :]):? +)?"
    r"(?P<message>\S.*)"
)
_RUBY = (
    r"[A-Z], \[(?P<timestamp>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?) #(?P<pid>\d+)\] +"
    r"(?P<level>[A-Z]+) -- (?P<service>[^:]{0,100}): (?:\[(?P<request_id>[\w-]{8,64})\] )?"
    r"(?P<message>.*)"
)
_RAILS = (
    r"(?:\[(?P<request_id>[\w-]{8,64})\] )?(?P<message>"
    r'Started (?P<method>[A-Z]+) "(?P<_target>[^"]{0,8192})" for (?P<client>\S+)(?P<_at> at '
    + ISO
    + r")"
    r"|Processing by [A-Z]\S*#\S+ as .*"
    r"|Completed (?P<status>\d{3}) .*"
    r"|(?:  )?(?:Rendered|Rendering) .*|Redirected to .*|Filter chain halted .*"
    r"|(?:Sent|Performed|Performing|Enqueued) .*"
    r"|  Parameters: .*)\s*$"
)
_JUL = (
    rf"{MONTH}\.? {{1,2}}(?P<_day>\d\d?), (?P<_year>\d{{4}}),? (?P<_hour>\d\d?):(?P<_minute>\d\d):"
    r"(?P<_second>\d\d)[ \u202f](?P<_half>[AP]M) (?P<logger>\S{1,300})"
    r"(?: (?P<function>.{1,300}))?\n"
    r"(?P<level>SEVERE|WARNING|INFO|CONFIG|FINE|FINER|FINEST): (?P<message>.*)"
)
_ELASTICSEARCH = (
    rf"\[{ISO}\]\[(?P<level>[A-Z]+) *\]\[(?P<logger>[^\s\]]{{1,300}}) *\] *"
    r"(?:\[(?P<node>[^\]]{0,300})\] ?)?(?P<message>.*)"
)

_SPRING_BANNER = re.compile(
    r"  \.   ____ | /\\\\ / ___'|\( \( \)\\___ \|| \\\\/  ___\)\||  '  \|____\|"
    r"| =+\|_\|=| :: Spring Boot ::"
)
_GLOG_HEADER = re.compile(
    r"Log file created at: |Running on machine: |Running duration \(|Binary: Built with "
    r"|Application fingerprint: |Log line format: "
)
_RUBY_HEADER = re.compile(r"# Logfile created on .* by logger\.rb")


def logback(zone: tzinfo) -> PatternFormat:
    """`%d [%t] %p %c - %m`, as logback and log4j2 are often set up."""
    return PatternFormat("logback", re.compile(_LOGBACK, re.ASCII), zone, comment=_SPRING_BANNER)


def spring(zone: tzinfo) -> PatternFormat:
    """Spring Boot: `%d %p PID --- [application] [%t] %c : %m`; also `%d %p [%t] %c - %m`."""
    return PatternFormat("spring", re.compile(_SPRING, re.ASCII), zone, comment=_SPRING_BANNER)


def python(zone: tzinfo) -> PatternFormat:
    """`%(asctime)s - %(name)s - %(levelname)s - %(message)s`."""
    return PatternFormat("python", re.compile(_PYTHON, re.ASCII), zone)


def loguru(zone: tzinfo) -> PatternFormat:
    """Loguru's default: `time | level | name:function:line - message`."""
    return PatternFormat("loguru", re.compile(_LOGURU, re.ASCII), zone)


def celery(zone: tzinfo) -> PatternFormat:
    """Celery's workers: `[time: level/process] message`."""
    return PatternFormat("celery", re.compile(_CELERY, re.ASCII), zone)


def zap(zone: tzinfo) -> PatternFormat:
    """The console encoder of zap: time, level, logger, caller and message between tabs."""
    return PatternFormat("zap", re.compile(_ZAP, re.ASCII), zone)


def klog(zone: tzinfo) -> PatternFormat:
    """Kubernetes' klog, and glog: `Lmmdd hh:mm:ss.uuuuuu pid file:line] message`."""
    return PatternFormat("klog", re.compile(_KLOG, re.ASCII), zone, comment=_GLOG_HEADER)


def go(zone: tzinfo) -> PatternFormat:
    """Go's package log, and what log/slog writes through it: `yyyy/mm/dd hh:mm:ss message`."""
    return PatternFormat("go", re.compile(_GO, re.ASCII), zone)


def ruby(zone: tzinfo) -> PatternFormat:
    """Ruby's Logger, as Rails has it in production: `I, [time #pid]  INFO -- name: message`."""
    return PatternFormat("ruby", re.compile(_RUBY, re.ASCII), zone, comment=_RUBY_HEADER)


def rails(zone: tzinfo) -> PatternFormat:
    """Rails without a prefix: the first line of a request has the time, each line is an event."""
    return PatternFormat(
        "rails",
        re.compile(_RAILS, re.ASCII),
        zone,
        normalize=_request_of_rails,
        added_names=frozenset(("path", "query")),
        digit_dependent=frozenset(),
        comment=_RUBY_HEADER,
    )


def jul(zone: tzinfo) -> PatternFormat:
    """java.util.logging's SimpleFormatter: date, class and method, then level and message."""
    return PatternFormat("jul", re.compile(_JUL, re.ASCII), zone, reads_all=True)


def elasticsearch(zone: tzinfo) -> PatternFormat:
    """The server log of Elasticsearch and OpenSearch: `[time][level][logger] [node] message`."""
    return PatternFormat("elasticsearch", re.compile(_ELASTICSEARCH, re.ASCII), zone)


def _request_of_rails(groups: Groups) -> Groups:
    if "_at" in groups:
        groups["message"] = groups["message"].rstrip().removesuffix(groups["_at"])
        groups["path"], _, groups["query"] = groups["_target"].partition("?")
    return groups
