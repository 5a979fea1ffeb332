"""Golden lines of every program whose format is built in."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.config import FormatConfig
from logmlm.errors import ConfigError
from logmlm.formats import FORMATS, attribute, detect_format, get_format
from logmlm.formats.levels import level_name, numeric_level, otel_level, syslog_level
from logmlm.records import Fields

NOW = datetime(2024, 3, 15, 12, tzinfo=UTC).timestamp()


class Golden(NamedTuple):
    """A line, and what its format must find in it."""

    format: str
    line: str
    time: str | None
    level: str
    message: str
    attributes: dict[str, str]
    label: str | None = None


GOLDEN = [
    Golden(
        "syslog",
        "Mar 14 23:59:58 web1 sshd[811]: Failed password for root from 10.0.0.9 port 4022 ssh2",
        "2024-03-14T23:59:58+00:00",
        "",
        "Failed password for root from 10.0.0.9 port 4022 ssh2",
        {"host.name": "web1", "service.name": "sshd", "process.pid": "811"},
    ),
    Golden(
        "syslog",
        "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
        "2023-10-11T22:14:15+00:00",
        "CRITICAL",
        "'su root' failed for lonvick on /dev/pts/8",
        {"host.name": "mymachine", "service.name": "su", "syslog.facility.code": "4"},
    ),
    Golden(
        "syslog",
        "2024-03-14T23:59:58.123456+01:00 web1 systemd[1]: Started Daily apt activities.",
        "2024-03-14T22:59:58.123456+00:00",
        "",
        "Started Daily apt activities.",
        {"host.name": "web1", "service.name": "systemd", "process.pid": "1"},
    ),
    Golden(
        "syslog",
        "Mar  4 04:09:11 combo syslogd 1.4.1: restart.",
        "2024-03-04T04:09:11+00:00",
        "",
        "restart.",
        {"host.name": "combo", "service.name": "syslogd 1.4.1"},
    ),
    Golden(
        "syslog",
        "Mar  4 04:09:11 combo -- MARK --",
        "2024-03-04T04:09:11+00:00",
        "",
        "-- MARK --",
        {"host.name": "combo"},
    ),
    Golden(
        "syslog",
        "Mar  4 04:09:11 sshd[5]: no host before the tag",
        "2024-03-04T04:09:11+00:00",
        "",
        "no host before the tag",
        {"service.name": "sshd", "process.pid": "5"},
    ),
    Golden(
        "syslog",
        "<999>Mar 14 01:02:03 web1 su: a priority that does not exist",
        "2024-03-14T01:02:03+00:00",
        "",
        "a priority that does not exist",
        {"host.name": "web1", "service.name": "su"},
    ),
    Golden(
        "rfc5424",
        "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 "
        r'[exampleSDID@32473 iut="3" eventSource="a \"b\" \]"][other@1 iut="9"] '
        "\ufeffAn application event log entry...",
        "2003-10-11T22:14:15.003+00:00",
        "NOTICE",
        "An application event log entry...",
        {
            "host.name": "mymachine.example.com",
            "service.name": "evntslog",
            "msgid": "ID47",
            "iut": "3",
            "eventSource": 'a "b" ]',
            "syslog.facility.code": "20",
        },
    ),
    Golden(
        "rfc5424",
        "<11>1 - - cron 77 - - job failed",
        None,
        "ERROR",
        "job failed",
        {"service.name": "cron", "process.pid": "77", "syslog.facility.code": "1"},
    ),
    Golden(
        "iso8601",
        "2024-03-14T10:00:00.5Z [warn] disk is nearly full",
        "2024-03-14T10:00:00.5+00:00",
        "WARNING",
        "disk is nearly full",
        {},
    ),
    Golden(
        "iso8601",
        "2024-03-14 10:00:00,250 +0530 - ERROR - disk is full",
        "2024-03-14T04:30:00.25+00:00",
        "ERROR",
        "disk is full",
        {},
    ),
    Golden(
        "iso8601",
        "2024-03-14 10:00:00 Error reading disk",
        "2024-03-14T10:00:00+00:00",
        "",
        "Error reading disk",
        {},
    ),
    Golden(
        "hadoop",
        "2015-10-18 18:01:47,978 WARN [Socket Reader #1 for port 62260] org.apache.hadoop.ipc."
        "Server: Auth successful for job_1445144423722_0020 (auth:SIMPLE)",
        "2015-10-18T18:01:47.978+00:00",
        "WARNING",
        "Auth successful for job_1445144423722_0020 (auth:SIMPLE)",
        {
            "thread.name": "Socket Reader #1 for port 62260",
            "log.logger": "org.apache.hadoop.ipc.Server",
        },
    ),
    Golden(
        "hadoop",
        "2021-01-01 00:00:00,007 INFO  namenode.NameNode (NameNode.java:main(123)) - create",
        "2021-01-01T00:00:00.007+00:00",
        "INFO",
        "create",
        {"log.logger": "namenode.NameNode", "source": "NameNode.java:main(123)"},
    ),
    Golden(
        "hdfs",
        "081109 203615 148 INFO dfs.DataNode$PacketResponder: PacketResponder 1 for block blk_38 "
        "terminating",
        "2008-11-09T20:36:15+00:00",
        "INFO",
        "PacketResponder 1 for block blk_38 terminating",
        {"process.pid": "148", "log.logger": "dfs.DataNode$PacketResponder"},
    ),
    Golden(
        "spark",
        "17/06/09 20:10:40 INFO spark.SecurityManager: Changing view acls to: yarn,curi",
        "2017-06-09T20:10:40+00:00",
        "INFO",
        "Changing view acls to: yarn,curi",
        {"log.logger": "spark.SecurityManager"},
    ),
    Golden(
        "zookeeper",
        "2015-07-29 17:41:44,747 - INFO  [QuorumPeer[myid=1]/0:0:0:0:0:0:0:0:2181:"
        "FastLeaderElection@774] - Notification time out: 3200",
        "2015-07-29T17:41:44.747+00:00",
        "INFO",
        "Notification time out: 3200",
        {
            "thread.name": "QuorumPeer[myid=1]/0:0:0:0:0:0:0:0:2181",
            "log.logger": "FastLeaderElection",
            "line": "774",
        },
    ),
    Golden(
        "zookeeper",
        "2022-03-01 10:00:00,123 [myid:2] - WARN  [main:o.a.z.s.q.QuorumPeerConfig@177] - Reading",
        "2022-03-01T10:00:00.123+00:00",
        "WARNING",
        "Reading",
        {
            "thread.name": "main",
            "log.logger": "o.a.z.s.q.QuorumPeerConfig",
            "line": "177",
            "myid": "2",
        },
    ),
    Golden(
        "kafka",
        "[2020-01-01 00:00:00,123] INFO [KafkaServer id=0] started (kafka.server.KafkaServer)",
        "2020-01-01T00:00:00.123+00:00",
        "INFO",
        "[KafkaServer id=0] started",
        {"log.logger": "kafka.server.KafkaServer"},
    ),
    Golden(
        "kafka",
        "[2020-01-01 00:00:00,123] ERROR Error while reading checkpoint",
        "2020-01-01T00:00:00.123+00:00",
        "ERROR",
        "Error while reading checkpoint",
        {},
    ),
    Golden(
        "apache",
        "[Sun Dec 04 05:15:09 2005] [error] [client 222.166.160.184] Directory index forbidden",
        "2005-12-04T05:15:09+00:00",
        "ERROR",
        "[client 222.166.160.184] Directory index forbidden",
        {"client.address": "222.166.160.184"},
    ),
    Golden(
        "apache",
        "[Sun Dec 04 04:47:44 2005] [notice] workerEnv.init() ok",
        "2005-12-04T04:47:44+00:00",
        "NOTICE",
        "workerEnv.init() ok",
        {},
    ),
    Golden(
        "apache",
        "[Wed Oct 11 14:32:52.123456 2023] [core:error] [pid 35708:tid 4328636416] "
        "(13)Permission denied: [client 72.15.99.187:40123] AH00035: access to /x denied, "
        "referer: http://example.com/",
        "2023-10-11T14:32:52.123456+00:00",
        "ERROR",
        "(13)Permission denied: AH00035: access to /x denied",
        {
            "module": "core",
            "process.pid": "35708",
            "thread.id": "4328636416",
            "client.address": "72.15.99.187",
            "http.request.header.referer": "http://example.com/",
        },
    ),
    Golden(
        "apache",
        "[Wed Oct 11 14:32:52.1 2023] [mpm_event:notice] [pid 9:tid 8] AH00489: configured",
        "2023-10-11T14:32:52.1+00:00",
        "NOTICE",
        "AH00489: configured",
        {"module": "mpm_event", "process.pid": "9", "thread.id": "8"},
    ),
    Golden(
        "apache",
        "[Wed Oct 11 14:32:52.1 2023] [core:info] [pid 9] [client localhost] AH00128: missing",
        "2023-10-11T14:32:52.1+00:00",
        "INFO",
        "AH00128: missing",
        {"module": "core", "process.pid": "9", "client.address": "localhost"},
    ),
    Golden(
        "nginx",
        '2023/10/11 14:32:52 [error] 1234#5678: *90 open() "/srv/x, y" failed (2: No such file or '
        'directory), client: 203.0.113.7, server: example.com, request: "GET /x%2C?q=1, 2 HTTP/1.1"'
        ', upstream: "http://127.0.0.1:80/x", host: "example.com", referrer: "http://a/, b"',
        "2023-10-11T14:32:52+00:00",
        "ERROR",
        'open() "/srv/x, y" failed (2: No such file or directory)',
        {
            "process.pid": "1234",
            "thread.id": "5678",
            "connection": "90",
            "client.address": "203.0.113.7",
            "server.address": "example.com",
            "upstream": "http://127.0.0.1:80/x",
            "http_host": "example.com",
            "http.request.header.referer": "http://a/, b",
        },
    ),
    Golden(
        "nginx",
        "2023/10/11 14:32:52 [crit] 7#7: *2 SSL_do_handshake() failed, client: ::1, server: , "
        'request: "GET /login?next=%2F HTTP/1.1", bytes: 17',
        "2023-10-11T14:32:52+00:00",
        "CRITICAL",
        "SSL_do_handshake() failed",
        {
            "process.pid": "7",
            "thread.id": "7",
            "connection": "2",
            "client.address": "::1",
            "http.request.method": "GET",
            "url.path": "/login",
            "url.query": "next=%2F",
        },
    ),
    Golden(
        "nginx",
        "2023/10/11 14:32:52 [notice] 1#1: signal 17 (SIGCHLD) received from 29",
        "2023-10-11T14:32:52+00:00",
        "NOTICE",
        "signal 17 (SIGCHLD) received from 29",
        {"process.pid": "1", "thread.id": "1"},
    ),
    Golden(
        "access",
        '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326',
        "2000-10-10T20:55:36+00:00",
        "",
        "GET /apache_pb.gif 200",
        {
            "client.address": "127.0.0.1",
            "user.name": "frank",
            "http.request.method": "GET",
            "url.path": "/apache_pb.gif",
            "http.response.status_code": "200",
            "http.response.body.size": "2326",
        },
    ),
    Golden(
        "access",
        'shop.example:443 ::1 - - [10/Oct/2023:13:55:36 +0130] "POST /cart?id=7&x=%20 HTTP/2.0" '
        r'302 - "https://shop.example/" "Mozilla/5.0 (\"X11\")" "198.51.100.2"',
        "2023-10-10T12:25:36+00:00",
        "",
        "POST /cart 302",
        {
            "server.address": "shop.example",
            "client.address": "::1",
            "http.request.method": "POST",
            "url.path": "/cart",
            "url.query": "id=7&x=%20",
            "http.response.status_code": "302",
            "http.request.header.referer": "https://shop.example/",
            "user_agent.original": r"Mozilla/5.0 (\"X11\")",
        },
    ),
    Golden(
        "access",
        r'203.0.113.9 - - [10/Oct/2023:13:55:36 +0000] "\x16\x03\x01" 400 157 "-" "-"',
        "2023-10-10T13:55:36+00:00",
        "",
        r"\x16\x03\x01 400",
        {
            "client.address": "203.0.113.9",
            "http.response.status_code": "400",
            "http.response.body.size": "157",
        },
    ),
    Golden(
        "access",
        '203.0.113.9 - - [10/Oct/2023:13:55:36 +0000] "" 408 0',
        "2023-10-10T13:55:36+00:00",
        "",
        "- 408",
        {
            "client.address": "203.0.113.9",
            "http.response.status_code": "408",
            "http.response.body.size": "0",
        },
    ),
    Golden(
        "postgresql",
        "2024-03-14 10:00:00.123 UTC [1234] LOG:  database system is ready to accept connections",
        "2024-03-14T10:00:00.123+00:00",
        "LOG",
        "database system is ready to accept connections",
        {"process.pid": "1234"},
    ),
    Golden(
        "postgresql",
        '2024-03-14 10:00:00.123 GMT [1234] shop@orders ERROR:  relation "x" does not exist at '
        "character 15",
        "2024-03-14T10:00:00.123+00:00",
        "ERROR",
        'relation "x" does not exist at character 15',
        {"process.pid": "1234", "user.name": "shop", "db.namespace": "orders"},
    ),
    Golden(
        "postgresql",
        "2024-03-14 10:00:00 +03 [77]: [3-1] user=shop,db=orders,app=psql client,client=10.0.0.5 "
        "STATEMENT:  SELECT 'ERROR:  no';",
        "2024-03-14T07:00:00+00:00",
        "STATEMENT",
        "SELECT 'ERROR:  no';",
        {
            "process.pid": "77",
            "user.name": "shop",
            "db.namespace": "orders",
            "app": "psql client",
            "client.address": "10.0.0.5",
        },
    ),
    Golden(
        "postgresql",
        "2024-03-14 10:00:00 -03:30 [77]: [3-1] user=,db=,app=,host= DEBUG2:  autovacuum",
        "2024-03-14T13:30:00+00:00",
        "DEBUG",
        "autovacuum",
        {"process.pid": "77"},
    ),
    Golden(
        "postgresql",
        "2024-03-14 10:00:00 UTC [77]: user=shop,db=orders,host=[local] HINT:  try again",
        "2024-03-14T10:00:00+00:00",
        "HINT",
        "try again",
        {
            "process.pid": "77",
            "user.name": "shop",
            "db.namespace": "orders",
            "client.address": "[local]",
        },
    ),
    Golden(
        "postgresql",
        "2024-03-14 10:00:00 UTC [77] shop@orders/pgAdmin 4 10.0.0.5(50123) FATAL:  too many",
        "2024-03-14T10:00:00+00:00",
        "FATAL",
        "too many",
        {
            "process.pid": "77",
            "user.name": "shop",
            "db.namespace": "orders",
            "app": "pgAdmin 4",
            "client.address": "10.0.0.5",
        },
    ),
    Golden(
        "postgresql",
        "2024-03-14 10:00:00 UTC:10.0.0.5(50123):shop@orders:[77]:PANIC:  could not write",
        "2024-03-14T10:00:00+00:00",
        "PANIC",
        "could not write",
        {
            "process.pid": "77",
            "user.name": "shop",
            "db.namespace": "orders",
            "client.address": "10.0.0.5",
        },
    ),
    Golden(
        "postgresql",
        "2024-03-14 10:00:00 UTC [77] walsender LOG:  started streaming",
        "2024-03-14T10:00:00+00:00",
        "LOG",
        "started streaming",
        {"process.pid": "77"},
    ),
    Golden(
        "redis",
        "1234:M 14 Mar 2024 10:00:00.123 * Ready to accept connections tcp",
        "2024-03-14T10:00:00.123+00:00",
        "NOTICE",
        "Ready to accept connections tcp",
        {"process.pid": "1234", "role": "M"},
    ),
    Golden(
        "redis",
        "8:S 29 Feb 10:00:00.123 # Connection with master lost.",
        "2024-02-29T10:00:00.123+00:00",
        "WARNING",
        "Connection with master lost.",
        {"process.pid": "8", "role": "S"},
    ),
    Golden(
        "redis",
        "8:C 14 Mar 2024 10:00:00.000 - Accepted 127.0.0.1:40000",
        "2024-03-14T10:00:00+00:00",
        "INFO",
        "Accepted 127.0.0.1:40000",
        {"process.pid": "8", "role": "C"},
    ),
    Golden(
        "redis",
        "8:M 14 Mar 2024 10:00:00.000 . 0 clients connected",
        "2024-03-14T10:00:00+00:00",
        "DEBUG",
        "0 clients connected",
        {"process.pid": "8", "role": "M"},
    ),
    Golden(
        "cri",
        "2016-10-06T00:17:09.669794202Z stdout F log content 1",
        "2016-10-06T00:17:09.669794+00:00",
        "",
        "log content 1",
        {"log.iostream": "stdout", "logtag": "F"},
    ),
    Golden(
        "cri",
        "2016-10-06T00:17:09.669794202+02:00 stderr P first half ",
        "2016-10-05T22:17:09.669794+00:00",
        "",
        "first half ",
        {"log.iostream": "stderr", "logtag": "P"},
    ),
    Golden(
        "docker",
        '{"log":"listening on :80\\n","stream":"stderr","time":"2024-03-14T10:00:00.123456789Z"}',
        "2024-03-14T10:00:00.123456+00:00",
        "",
        "listening on :80",
        {"log.iostream": "stderr"},
    ),
    Golden(
        "json",
        '{"timeUnixNano":"1710410400500000000","severityNumber":17,"body":{"stringValue":"no disk"}'
        ',"attributes":[{"key":"service.name","value":{"stringValue":"cart"}},'
        '{"key":"log.record.template","value":{"stringValue":"no <*>"}},'
        '{"key":"retries","value":{"intValue":"3"}}],"traceId":"ab12","spanId":"cd"}',
        "2024-03-14T10:00:00.5+00:00",
        "ERROR",
        "no disk",
        {
            "service.name": "cart",
            "log.record.template": "no <*>",
            "retries": "3",
            "trace_id": "ab12",
            "span_id": "cd",
        },
    ),
    Golden(
        "json",
        '{"@timestamp":"2024-03-14T10:00:00.000Z","log":{"level":"warn","logger":"a.B"},'
        '"message":"slow\\n\\tat a.B","host":{"name":"web1"},"trace.id":"ff","ecs.version":"8.11"}',
        "2024-03-14T10:00:00+00:00",
        "WARNING",
        "slow",
        {"log.logger": "a.B", "host.name": "web1", "trace_id": "ff", "ecs.version": "8.11"},
    ),
    Golden(
        "json",
        '{"__REALTIME_TIMESTAMP":"1710410400250000","PRIORITY":"3","MESSAGE":[104,105,255],'
        '"_HOSTNAME":"web1","SYSLOG_IDENTIFIER":"sshd","_PID":"811","_SYSTEMD_UNIT":"ssh.service"}',
        "2024-03-14T10:00:00.25+00:00",
        "ERROR",
        "hi\ufffd",
        {
            "host.name": "web1",
            "service.name": "sshd",
            "process.pid": "811",
            "systemd.unit": "ssh.service",
        },
    ),
    Golden(
        "json",
        '{"level":30,"time":1710410400000,"pid":9,"hostname":"h","msg":"up","ok":true,"x":null}',
        "2024-03-14T10:00:00+00:00",
        "INFO",
        "up",
        {"process.pid": "9", "host.name": "h", "ok": "true"},
    ),
    Golden(
        "bgl",
        "APPREAD 1117869872 2005.06.04 R04-M1-N4-I:J18-U11 2005-06-04-00.24.32.432192 "
        "R04-M1-N4-I:J18-U11 RAS APP FATAL ciod: failed to read message prefix on control stream",
        "2005-06-04T07:24:32+00:00",
        "FATAL",
        "ciod: failed to read message prefix on control stream",
        {"host.name": "R04-M1-N4-I:J18-U11", "type": "RAS", "log.logger": "APP"},
        "APPREAD",
    ),
    Golden(
        "thunderbird",
        "- 1131566461 2005.11.09 dn228 Nov 9 12:01:01 dn228/dn228 crond(pam_unix)[2915]: session "
        "closed for user root",
        "2005-11-09T20:01:01+00:00",
        "",
        "session closed for user root",
        {
            "host.name": "dn228",
            "location": "dn228/dn228",
            "service.name": "crond(pam_unix)",
            "process.pid": "2915",
        },
        "-",
    ),
    Golden(
        "thunderbird",
        "VAPI 1131566461 2005.11.09 dn1 Nov 9 12:01:01 dn1/dn1 no colon at all",
        "2005-11-09T20:01:01+00:00",
        "",
        "no colon at all",
        {"host.name": "dn1", "location": "dn1/dn1"},
        "VAPI",
    ),
    Golden("plain", "  anything at all \r", None, "", "anything at all", {}),
]


def parse(name: str, line: str, now: float = NOW) -> Fields | None:
    return get_format(FormatConfig(name=name)).parse(line, now)


@pytest.mark.parametrize("golden", GOLDEN, ids=[f"{one.format}-{one.message}" for one in GOLDEN])
def test_a_real_line_of_each_program_is_split_as_a_reader_would(golden: Golden) -> None:
    fields = parse(golden.format, golden.line)
    assert fields is not None
    expected = None if golden.time is None else datetime.fromisoformat(golden.time).timestamp()
    assert fields.timestamp == (expected if expected is None else pytest.approx(expected, abs=1e-5))
    assert (fields.level, fields.message) == (golden.level, golden.message)
    assert fields.attributes == golden.attributes
    assert fields.label == golden.label


def test_every_format_has_a_golden_line() -> None:
    assert {one.format for one in GOLDEN} == set(FORMATS)


@pytest.mark.parametrize("golden", [one for one in GOLDEN if one.format != "plain"])
def test_auto_takes_the_format_of_each_golden_line_and_no_looser_one(golden: Golden) -> None:
    assert detect_format([golden.line], FormatConfig()).format.name == golden.format


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, deadline=None)
@given(text=st.text())
def test_no_text_makes_a_format_raise(name: str, text: str) -> None:
    parse(name, text)


@settings(max_examples=40, deadline=None)
@given(golden=st.sampled_from(GOLDEN), data=st.data(), junk=st.text(max_size=5), now=st.floats())
def test_no_damage_to_a_real_line_makes_its_format_raise(
    golden: Golden, data: st.DataObject, junk: str, now: float
) -> None:
    at = data.draw(st.integers(0, len(golden.line)))
    until = data.draw(st.integers(at, len(golden.line)))
    fields = parse(golden.format, golden.line[:at] + junk + golden.line[until:], now)
    assert fields is None or "\n" not in fields.message


@pytest.mark.parametrize("golden", GOLDEN, ids=[one.format for one in GOLDEN])
def test_a_joined_event_parses_as_its_first_line_did(golden: Golden) -> None:
    if golden.format not in ("json", "docker"):  # there an event is never joined from lines
        joined = parse(golden.format, f"{golden.line}\n\tat com.example.Main(Main.java:7)")
        assert joined == parse(golden.format, golden.line)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("text", ["", "   ", "\n\n", "\tat com.example.Main.run(Main.java:7)"])
def test_blank_lines_and_stack_traces_match_no_format_but_plain(name: str, text: str) -> None:
    fields = parse(name, text)
    assert fields is None or (name == "plain" and fields.message == text.strip())


def test_bytes_that_are_not_utf8_stay_in_the_message() -> None:
    line = b"Mar 14 23:59:58 web1 app: caf\xe9".decode(errors="surrogateescape")
    fields = parse("syslog", line)
    assert fields is not None
    assert fields.message == "caf\udce9"


@pytest.mark.parametrize(
    "line",
    [
        "2024-13-14T10:00:00Z something",
        "2024-02-30 10:00:00 something",
        "9999-12-31T23:59:59-14:00 something",
    ],
)
def test_a_line_whose_date_does_not_exist_is_kept_without_a_timestamp(line: str) -> None:
    fields = parse("iso8601", line)
    assert fields is not None
    assert (fields.timestamp, fields.message) == (None, "something")


def test_a_level_word_after_a_date_is_no_host_of_syslog() -> None:
    assert parse("syslog", "2024-03-14T10:00:00Z INFO main: started") is None
    assert parse("syslog", "2024-03-14T10:00:00Z web1 nothing that looks like a tag") is None


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("access", '1.2.3.4 - - [10/Oct/2023:13:55:36 +0000] "' + "\\" * 30_000),
        ("rfc5424", "<1>1 - a b c d " + "[a" * 30_000),
        ("nginx", "2023/10/11 14:32:52 [error] 1#1: x, client: " + "a" * 60_000),
        ("zookeeper", "2015-07-29 17:41:44,747 - INFO  [" + ":a" * 30_000),
        ("thunderbird", "- 1131566461 2005.11.09 d Nov 9 12:01:01 d/d " + "[1" * 30_000),
        ("kafka", "[2020-01-01 00:00:00,123] INFO " + " (a" * 20_000),
        ("syslog", "Mar 14 23:59:58 " + "a" * 60_000),
        ("postgresql", "2024-03-14 10:00:00 UTC [1] " + "LOG " * 15_000),
    ],
)
def test_a_hostile_line_takes_no_more_than_linear_time(name: str, prefix: str) -> None:
    started = time.process_time()
    parse(name, prefix)
    assert time.process_time() - started < 2.0  # quadratic matching would take minutes


def test_attributes_are_found_by_full_name_and_by_alias() -> None:
    fields = Fields(None, "", "m", {"host.name": "web1", "status": "own", "request_id": "r7"})
    assert attribute(fields, "host") == attribute(fields, "host.name") == "web1"
    assert attribute(fields, "status") == "own"
    assert attribute(fields, "request_id") == "r7"
    assert attribute(fields, "thread") is None
    assert attribute(fields, "nothing") is None


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("warn", "WARNING"),
        ("Err", "ERROR"),
        ("crit", "CRITICAL"),
        ("emerg", "EMERGENCY"),
        ("I", "INFO"),
        (" info ", "INFO"),
        ("", ""),
        ("LOG", "LOG"),
    ],
)
def test_levels_have_one_spelling(word: str, name: str) -> None:
    assert level_name(word) == name


def test_numbered_levels_have_names_and_others_have_none() -> None:
    assert [syslog_level(str(number)) for number in (0, 4, 7, 8)] == [
        "EMERGENCY",
        "WARNING",
        "DEBUG",
        "",
    ]
    assert [otel_level(str(number)) for number in (0, 1, 4, 9, 13, 24, 25)] == [
        "",
        "TRACE",
        "TRACE",
        "INFO",
        "WARNING",
        "FATAL",
        "",
    ]
    assert [otel_level(text) for text in ("", "x", "²", "999")] == [""] * 4
    assert [numeric_level(text) for text in ("30", "31")] == ["INFO", ""]


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match=r"'sysolg' is unknown; did you mean 'syslog'\?"):
        get_format(FormatConfig(name="sysolg"))
    with pytest.raises(ConfigError, match=r"'§' is unknown; Known are auto, rfc5424, "):
        get_format(FormatConfig(name="§"))


def test_auto_is_decided_by_lines_and_can_not_be_got_by_name() -> None:
    with pytest.raises(ConfigError, match="lines have to decide"):
        get_format(FormatConfig(name="auto"))


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "Europe", ""])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ConfigError, match=r"format\.timezone"):
        get_format(FormatConfig(name="spark", timezone=zone))
