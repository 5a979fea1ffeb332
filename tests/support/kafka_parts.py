"""A real Apache Kafka for tests: one KRaft node, or three, on free ports of 127.0.0.1."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from itertools import cycle, islice
from pathlib import Path

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError

ROOT = Path(__file__).parents[2]
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 5
PORTS = range(28_000 + 200 * WORKER, 28_200 + 200 * WORKER)
"""Each worker's own; the filters of warnings in pyproject.toml name them too."""
ROUND = cycle(random.sample(PORTS, len(PORTS)))
JAVA = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
PASSWORD = "s3cr3t-of-alice"  # noqa: S105  the test broker's own
PROPERTIES = """\
process.roles=broker,controller
node.id={node}
{quorum}
listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},\
SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL
listener.name.tls.ssl.keystore.type=PEM
listener.name.tls.ssl.keystore.location={pem}
listener.name.tls.ssl.truststore.type=PEM
listener.name.tls.ssl.truststore.location={certificate}
listener.name.tls.ssl.client.auth=required
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN,OAUTHBEARER
listener.name.sasl.scram-sha-256.sasl.jaas.config={scram} required;
listener.name.sasl.scram-sha-512.sasl.jaas.config={scram} required;
listener.name.sasl.plain.sasl.jaas.config={login}.plain.PlainLoginModule required \
user_alice="{password}";
listener.name.sasl.oauthbearer.sasl.jaas.config={login}.oauthbearer.OAuthBearerLoginModule \
required unsecuredLoginStringClaim_sub="broker";
log.dirs={logs}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
auto.create.topics.enable=true
message.max.bytes=4194304
log.cleaner.backoff.ms=200
log.retention.ms=-1
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""


def kafka_home():
    """The directory that holds libs/*.jar, or None."""
    named = os.environ.get("KAFKA_HOME")
    cached = sorted((ROOT / ".cache").glob("kafka*"), reverse=True)
    places = ([Path(named)] if named else []) + [ROOT.parent / "shared" / "kafka", *cached]
    return next((place for place in places if any(place.glob("libs/*.jar"))), None)


def free_ports(count):
    """Ports that the system gives to no connection, and by which pytest knows Kafka's sockets.

    Each is given once in a round, as who got it may not listen there yet.
    """
    found = []
    for port in islice(ROUND, len(PORTS)):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"less than {count} ports of {PORTS} are free")


class BrokerError(RuntimeError):
    """A broker did not come up; the text is the end of its log."""


class Clients:
    """What a test does with brokers at `address`."""

    address: str
    copies = 1

    @contextmanager
    def admin(self):
        client = KafkaAdminClient(bootstrap_servers=self.address)
        try:
            yield client
        finally:
            client.close()

    def topic(self, name, partitions=1, **configs):
        with self.admin() as admin:
            topic = NewTopic(name, num_partitions=partitions, replication_factor=self.copies)
            topic.topic_configs = {key.replace("_", "."): str(v) for key, v in configs.items()}
            admin.create_topics([topic])
        return name

    @contextmanager
    def producer(self, **options):
        client = KafkaProducer(bootstrap_servers=self.address, linger_ms=5, **options)
        try:
            yield client
            client.flush(90)
        finally:
            client.close(timeout=10)

    def produce(self, topic, values, partition=0, **options):
        """Write values to one partition, in order; None is a record with a key alone."""
        with self.producer(**options) as producer:
            for value in values:
                raw = value.encode() if isinstance(value, str) else value
                key = b"key" if raw is None else None
                producer.send(topic, raw, key=key, partition=partition)

    def records(self, topic, count, seconds=20):
        """The first `count` records of a topic, or as many as came."""
        found = []
        reader = KafkaConsumer(
            topic, bootstrap_servers=self.address, auto_offset_reset="earliest", group_id=None
        )
        try:
            deadline = time.monotonic() + seconds
            while len(found) < count and time.monotonic() < deadline:
                found += [each for some in reader.poll(200).values() for each in some]
        finally:
            reader.close()
        return found

    def committed(self, group):
        """Offset and metadata of each partition that the group committed."""
        with self.admin() as admin:
            return admin.list_group_offsets({group: None})[group]


class Broker(Clients):
    """One node; `start` and `stop` may be called again and again, the data stays.

    `voters` are the controllers' ports of all nodes, where it is one of several.
    """

    def __init__(self, home, directory, node=1, voters=None):
        self._classes = f"{home}/libs/*"
        self._directory = directory
        self._properties = directory / "server.properties"
        self._process = None
        self._voters = voters
        plain, controller, sasl, tls = free_ports(4)
        controller = voters[node - 1] if voters else controller
        self.port = plain
        self.address = f"127.0.0.1:{plain}"
        self.sasl_address = f"127.0.0.1:{sasl}"
        self.tls_address = f"127.0.0.1:{tls}"
        self.certificate, self.key = directory / "cert.pem", directory / "key.pem"
        pem = self._certify(directory / "server.pem")
        security = "org.apache.kafka.common.security"
        self._properties.write_text(
            PROPERTIES.format(
                node=node,
                quorum=self._quorum(controller),
                copies=len(voters or [controller]),
                plain=plain,
                controller=controller,
                sasl=sasl,
                tls=tls,
                pem=pem,
                certificate=self.certificate,
                logs=directory / "logs",
                login=security,
                scram=f"{security}.scram.ScramLoginModule",
                password=PASSWORD,
            )
        )
        self._format()

    def _quorum(self, controller):
        if self._voters is None:
            return f"controller.quorum.bootstrap.servers=127.0.0.1:{controller}"
        voters = (f"{i}@127.0.0.1:{port}" for i, port in enumerate(self._voters, 1))
        return f"controller.quorum.voters={','.join(voters)}"

    def _certify(self, pem):
        """One certificate for broker and clients that signs itself; `pem` has it and its key."""
        made = ["-keyout", str(self.key), "-out", str(self.certificate)]
        name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *name, *made],
            check=True,
            capture_output=True,
        )
        pem.write_text(self.key.read_text() + self.certificate.read_text())
        return pem

    def _java(self, *arguments):
        return ["java", *JAVA, "-cp", self._classes, *arguments]

    def _format(self):
        users = [
            f"--add-scram=SCRAM-SHA-{bits}=[name=alice,password={PASSWORD}]" for bits in (256, 512)
        ]
        alone = [] if self._voters else ["--standalone"]
        tool = self._java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg")
        ended = subprocess.run(
            [*tool, "-c", str(self._properties), *alone, *users],
            check=False,
            capture_output=True,
            text=True,
        )
        if ended.returncode:
            raise BrokerError((ended.stdout + ended.stderr)[-4000:])

    def start(self):
        self.launch()
        return self.wait_until_listening()

    def launch(self):
        with (self._directory / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._properties)), stdout=log, stderr=log
            )

    def wait_until_listening(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise BrokerError((self._directory / "broker.log").read_text()[-4000:])

    def freeze(self):
        """Have it stand still: connections stay, and nothing is answered."""
        self._process.send_signal(signal.SIGSTOP)

    def stop(self, kill=False):
        if self._process is not None:
            if kill:
                self._process.kill()
            else:
                self._process.terminate()
            try:
                self._process.wait(60)
            finally:
                self._process.kill()
                self._process.wait()
            self._process = None


class Cluster(Clients):
    """Three nodes that keep a copy of everything each; any one of them may be lost."""

    copies = 3

    def __init__(self, home, directory):
        voters = free_ports(self.copies)
        self.brokers = []
        for node in range(1, self.copies + 1):
            (directory / str(node)).mkdir()
            self.brokers.append(Broker(home, directory / str(node), node, voters))
        self.address = ",".join(broker.address for broker in self.brokers)

    def start(self):
        for broker in self.brokers:
            broker.launch()
        for broker in self.brokers:
            broker.wait_until_listening()
        deadline = time.monotonic() + 60
        while self._known() < self.copies:
            if time.monotonic() > deadline:
                raise RuntimeError("the three brokers do not find each other")
            time.sleep(0.1)
        return self

    def stop(self, kill=False):
        for broker in self.brokers:
            broker.stop(kill)

    def leaders(self, topic):
        """The node that leads each partition."""
        with self.admin() as admin:
            (described,) = admin.describe_topics([topic])
        return {each["partition_index"]: each["leader_id"] for each in described["partitions"]}

    def _known(self):
        with suppress(KafkaError), self.admin() as admin:
            return len(admin.describe_cluster()["brokers"])
        return 0


def reason_to_skip():
    if shutil.which("java") is None:
        return "there is no java; Debian's openjdk-17-jre-headless brings one"
    if shutil.which("openssl") is None:
        return "there is no openssl to make certificates with; Debian's openssl brings one"
    if kafka_home() is None:
        return "there is no Apache Kafka; `make kafka` brings one (or set KAFKA_HOME)"
    return None


@contextmanager
def running_broker(directory, kind=Broker):
    """A broker, or a `Cluster` of three, while the block lasts; a skip where there is no Kafka."""
    if reason := reason_to_skip():
        import pytest  # the demonstration has none, and asks for the reason itself

        pytest.skip(reason)
    broker = kind(kafka_home(), directory)
    try:
        yield broker.start()
    finally:
        broker.stop(kill=True)
