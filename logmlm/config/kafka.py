"""How Kafka is reached, what is read from it and what is written to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from logmlm.config.types import (
    HOST_PORT,
    ONE_WORD,
    BaseSinkConfig,
    Duration,
    Regex,
    Size,
    StrictModel,
    StringList,
    as_tuple,
)

DEAD_LETTERS = ".logmlm.dlq"
"""What the name of a topic's dead-letter topic ends with."""
MAX_LINE_BYTES = 1024**2
"""A longer line is cut, as in finished logs (`sources.blocks`): all commands read alike."""
NonEmptyString = Annotated[str, Field(min_length=1)]
Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
ATTRIBUTE_SOURCE = re.compile(r"key|header:.+|field:.+", re.DOTALL)


class KafkaTlsConfig(StrictModel):
    """Encryption, and whom to trust; `tls: {}` trusts the system's authorities.

    `ca_file` holds the authorities to trust instead, `cert_file` and `key_file` are the client's
    own, all in PEM; `key_password_file` holds the key's password. `check_hostname` false lets
    the broker's certificate name another host.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password_file: Path | None = None
    check_hostname: bool = True

    @model_validator(mode="after")
    def _key_has_certificate(self) -> KafkaTlsConfig:
        if self.cert_file is None and (self.key_file or self.key_password_file):
            raise ValueError("give 'cert_file' too")
        return self


class KafkaTokenEndpoint(StrictModel):
    """Where OAuth 2 tokens are had for a client's credentials (RFC 6749, 4.4)."""

    url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    client_id: NonEmptyString
    client_secret_file: Path
    scope: str | None = None
    timeout: Duration = 10.0


class KafkaSaslConfig(StrictModel):
    """Who we are: a user with a password, or a bearer of tokens; secrets stand in files.

    PLAIN and SCRAM take `username` and `password_file`. OAUTHBEARER takes `token_file`, which is
    read anew for each connection, or a `token_endpoint`.
    """

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
    username: NonEmptyString | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    token_endpoint: KafkaTokenEndpoint | None = None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> KafkaSaslConfig:
        user = (self.username, self.password_file)
        token = (self.token_file, self.token_endpoint)
        if self.mechanism == "OAUTHBEARER":
            if any(user) or sum(map(bool, token)) != 1:
                raise ValueError("OAUTHBEARER needs either 'token_file' or 'token_endpoint'")
        elif not all(user) or any(token):
            raise ValueError(f"{self.mechanism} needs 'username' and 'password_file'")
        return self


class KafkaConnection(StrictModel):
    """How Kafka's brokers are reached.

    `bootstrap_servers` are `host:port`, some of them are enough. Without `tls` nothing is
    encrypted, and without `sasl` nobody asks who we are. A broker that does not answer within
    `connect_timeout` at the start ends the daemon with exit code 69.
    """

    bootstrap_servers: Annotated[StringList, Field(min_length=1)]
    tls: KafkaTlsConfig | None = None
    sasl: KafkaSaslConfig | None = None
    connect_timeout: Duration = 10.0

    @field_validator("bootstrap_servers")
    @classmethod
    def _servers_have_ports(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        for server in servers:
            if not HOST_PORT.fullmatch(server):
                raise ValueError(f"'{server}' should be host:port, like kafka1:9092")
        return servers


class KafkaSourceConfig(KafkaConnection):
    """Records of topics, or of all topics whose whole name matches `pattern`.

    Processes of one `group` (by default `logmlm-` and the model's name) share the partitions;
    positions are kept in it. `auto_offset_reset` says where a partition is begun that the group
    has no position for: `earliest` at its first record, `latest` at its next one.
    `group_instance_id` makes a member of the group known by name, so that its restart within
    `session_timeout` moves no partition; each process needs its own. Whoever is silent for
    `session_timeout`, or busy with other things for `max_poll_interval`, loses its partitions to
    the others; while the group shares them out, it waits so long at most for one that does not
    join. New topics and partitions are looked for every `metadata_max_age`.

    A record's value is a line of `text`, or `json`: an object, whose field `message_field` is
    the line (by default the line is the whole object). `attributes` names what else is known of
    a line, for the model's key: `host: key`, `service: header:app`, `unit: field:kubernetes.pod`
    (fields in fields with dots). Host and service are labels of its alerts too. A line over
    `max_line_bytes` is cut.

    `isolation_level` says whether records of transactions are read before these are committed:
    with `read_committed`, those of aborted ones never come, and reading waits at the first record
    of a transaction that is open (in Kafka's words, at the last stable offset).

    A record without a value (a tombstone) is no line: it is passed, and counted. One that can't be
    read (no JSON object, over `max_record_bytes`) goes to
    `dead_letter_topic` (by default the topic's own name and `.logmlm.dlq`). If, of the last
    `dead_letter_minimum` records or more, a share over `max_dead_letter_share` can't be read,
    the daemon stops with exit code 65. Where records are there but none comes for
    `stall_timeout`, the connection is made anew, and so it is where the group is not joined
    within `max_poll_interval` and `stall_timeout`.
    """

    topics: Annotated[tuple[Topic, ...], BeforeValidator(as_tuple), ONE_WORD] = ()
    pattern: Regex | None = None
    group: NonEmptyString | None = None
    auto_offset_reset: Literal["earliest", "latest"]
    isolation_level: Literal["read_committed", "read_uncommitted"] = "read_committed"
    group_instance_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")] | None = None
    session_timeout: Annotated[Duration, Field(ge=1)] = 45.0
    max_poll_interval: Annotated[Duration, Field(ge=1)] = 120.0
    metadata_max_age: Annotated[Duration, Field(ge=1)] = 60.0
    value: Literal["text", "json"] = "text"
    message_field: NonEmptyString | None = None
    attributes: Annotated[dict[str, str], Field(max_length=16)] = Field(default_factory=dict)
    max_line_bytes: Size = MAX_LINE_BYTES
    max_record_bytes: Size = 1024**2
    dead_letter_topic: Topic | None = None
    max_dead_letter_share: Annotated[float, Field(gt=0, le=1)] = 0.05
    dead_letter_minimum: Annotated[int, Field(ge=1)] = 1000
    stall_timeout: Duration = 60.0

    @model_validator(mode="after")
    def _topics_or_pattern(self) -> KafkaSourceConfig:
        if bool(self.topics) == (self.pattern is not None):
            raise ValueError("give either 'topics' or 'pattern'")
        try:
            re.compile(self.subscription or "")
        except re.error as error:
            raise ValueError(f"'pattern' can't stand in a longer one: {error}") from error
        return self

    @model_validator(mode="after")
    def _fields_need_json(self) -> KafkaSourceConfig:
        in_fields = any(place.startswith("field:") for place in self.attributes.values())
        if self.value == "text" and (self.message_field is not None or in_fields):
            raise ValueError("fields of a record are read with 'value: json' only")
        return self

    @field_validator("attributes")
    @classmethod
    def _attributes_have_places(cls, attributes: dict[str, str]) -> dict[str, str]:
        for name, place in attributes.items():
            if not name or not ATTRIBUTE_SOURCE.fullmatch(place):
                raise ValueError(
                    f"'{name}: {place}' should say key, header:NAME or field:NAME after a name"
                )
        return attributes

    def dead_letter_topic_of(self, topic: str) -> str:
        """Topic that the unreadable records of `topic` go to."""
        return self.dead_letter_topic or topic + DEAD_LETTERS

    @property
    def subscription(self) -> str | None:
        """`pattern` for whole names, which our own dead letters never match."""
        if self.pattern is None:
            return None
        ours = [".*" + re.escape(DEAD_LETTERS)]
        ours += [] if self.dead_letter_topic is None else [re.escape(self.dead_letter_topic)]
        return "".join(rf"(?!{each}\Z)" for each in ours) + rf"(?:{self.pattern})\Z"


class KafkaSinkConfig(KafkaConnection, BaseSinkConfig):
    """Alerts as JSON records of a topic, keyed by fingerprint.

    They are accepted once all replicas in sync have them. One try takes `timeout` at most.
    """

    name: NonEmptyString = "kafka"
    topic: Topic
    timeout: Duration = 10.0
