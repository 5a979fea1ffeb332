"""The layouts of log4j that Hadoop, HDFS, Spark, ZooKeeper and Kafka ship with."""

from __future__ import annotations

import re
from datetime import tzinfo

from logmlm.parsing.formats.line_format import Groups, PatternFormat
from logmlm.parsing.formats.timestamps import COMPACT, ISO_LOCAL, SLASHED

_LEVEL = r"(?P<level>TRACE|DEBUG|INFO|WARN|ERROR|FATAL)"
_LOGGER = r"(?P<logger>[\w.$/-]+)"
_HADOOP = (
    rf"{ISO_LOCAL} {_LEVEL} +(?:\[(?P<thread>.*?)\] +)?{_LOGGER}"
    r"(?::(?=\s|$)| \((?P<source>[\w.$<>-]+:\w+\(\d+\))\) -)(?P<message>.*)"
)
_HDFS = rf"{COMPACT} (?P<pid>\d+) {_LEVEL} +{_LOGGER}:(?=\s|$)(?P<message>.*)"
_SPARK = rf"{SLASHED} {_LEVEL} +{_LOGGER}:(?=\s|$)(?P<message>.*)"
_ZOOKEEPER = (
    rf"{ISO_LOCAL} (?:\[myid:(?P<myid>[^\]]*)\] )?- {_LEVEL} +"
    r"\[(?P<thread>.*?):(?P<logger>[\w.$]+)@(?P<line>\d+)\] -(?P<message>.*)"
)
_KAFKA = rf"\[{ISO_LOCAL}\] {_LEVEL} +(?P<message>.*)"
_KAFKA_LOGGER = re.compile(r" \(([\w.$-]+)\)\s*$", re.ASCII)


def hadoop(zone: tzinfo) -> PatternFormat:
    """`%d{ISO8601} %p [%t] %c: %m`, the thread optional, or `%c{2} (%F:%M(%L)) - %m`."""
    return PatternFormat("hadoop", re.compile(_HADOOP, re.ASCII), zone)


def hdfs(zone: tzinfo) -> PatternFormat:
    """`%d{yyMMdd HHmmss} PID %p %c: %m`, as in the HDFS data set (loghub)."""
    return PatternFormat("hdfs", re.compile(_HDFS, re.ASCII), zone)


def spark(zone: tzinfo) -> PatternFormat:
    """`%d{yy/MM/dd HH:mm:ss} %p %c{1}: %m`."""
    return PatternFormat("spark", re.compile(_SPARK, re.ASCII), zone)


def zookeeper(zone: tzinfo) -> PatternFormat:
    """`%d{ISO8601} [myid:%X{myid}] - %-5p [%t:%C{1}@%L] - %m`, without myid in old versions."""
    return PatternFormat("zookeeper", re.compile(_ZOOKEEPER, re.ASCII), zone)


def kafka(zone: tzinfo) -> PatternFormat:
    """`[%d] %p %m (%c)`."""
    return PatternFormat(
        "kafka",
        re.compile(_KAFKA, re.ASCII),
        zone,
        normalize=_logger_at_end,
        added_names=frozenset(("logger",)),
        digit_dependent=frozenset(),
    )


def _logger_at_end(groups: Groups) -> Groups:
    found = _KAFKA_LOGGER.search(groups.get("message", ""))
    if found is not None:
        groups["logger"] = found[1]
        groups["message"] = groups["message"][: found.start()]
    return groups
