"""The private interfaces of libraries that logmlm relies on are those of the installed versions.

Each is used in one module. Where a test fails, the library was changed: see that module, and keep
to an older version in `pyproject.toml` until it fits the new one. `re`'s are in
`tests/config/test_regex_tree.py`.
"""

import inspect
from importlib.metadata import version

import pytest
from drain3.drain import Drain, LogCluster
from kafka import KafkaConsumer
from kafka.cluster import ClusterMetadata
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.net.compat import KafkaNetClient

MINER, CONSUMER = "logmlm.parsing.template_miner", "logmlm.sources.kafka.consumer"
ASSIGNOR, CLIENTS = "logmlm.sources.kafka.assignor", "logmlm.system.kafka"
PARAMETERS = [
    ("drain3", Drain.tree_search, "root_node tokens sim_th include_params", MINER),
    ("drain3", Drain.add_seq_to_prefix_tree, "root_node cluster", MINER),
    ("drain3", LogCluster, "log_template_tokens cluster_id", MINER),
    ("kafka-python", ConsumerCoordinator.request_rejoin, "", CONSUMER),
    ("kafka-python", ClusterMetadata.partitions_for_topic, "topic", CONSUMER),
    ("kafka-python", CooperativeStickyAssignor.metadata, "topics", ASSIGNOR),
    ("kafka-python", CooperativeStickyAssignor.assign, "cluster members", ASSIGNOR),
    ("kafka-python", CooperativeStickyAssignor.on_assignment, "assignment generation", ASSIGNOR),
]
WORDS = ["user", "<NUM>", "logged", "in"]


def changed(library, interface, module):
    return (
        f"{library} {version(library)} has another {interface} than {module} relies on:"
        f" change that module, or require an older {library} in pyproject.toml"
    )


@pytest.mark.parametrize(
    ("library", "function", "expected", "module"),
    PARAMETERS,
    ids=[function.__qualname__ for _, function, _, _ in PARAMETERS],
)
def test_private_functions_have_the_parameters_that_are_given(library, function, expected, module):
    found = [name for name in inspect.signature(function).parameters if name != "self"]
    assert found[: len(expected.split())] == expected.split(), changed(
        library, function.__qualname__, module
    )


def test_drain_takes_a_restored_template_and_finds_it():
    drain = Drain(4, 0.5, 100)
    cluster = LogCluster(WORDS, 1)
    said = changed("drain3", "tree of templates", MINER)
    assert (cluster.size, drain.clusters_counter, drain.sim_th) == (1, 0, 0.5), said
    drain.id_to_cluster[1] = cluster
    drain.clusters_counter = 1
    drain.add_seq_to_prefix_tree(drain.root_node, cluster)
    other = ["user", "<NUM>", "logged", "out"]
    found = drain.tree_search(drain.root_node, other, drain.sim_th, include_params=False)
    assert found is cluster, said
    joined, _ = drain.add_log_message(" ".join(other))
    assert joined is cluster, said
    assert list(joined.log_template_tokens) == ["user", "<NUM>", "logged", "<*>"], said
    assert (joined.size, joined.cluster_id) == (2, 1), said
    new, _ = drain.add_log_message("quite another line of words")
    assert new.cluster_id == 2, said


@pytest.mark.parametrize("name", ["_coordinator", "_cluster"])
def test_a_kafka_consumer_keeps_its_coordinator_and_its_cluster_under_these_names(name):
    names = KafkaConsumer.__init__.__code__.co_names  # a consumer itself would need a broker
    assert name in names, changed("kafka-python", f"KafkaConsumer.{name}", CONSUMER)


def test_a_kafka_client_has_the_cluster_whose_config_is_set():
    said = changed("kafka-python", "KafkaNetClient.cluster.config", CLIENTS)
    assert isinstance(inspect.getattr_static(KafkaNetClient, "cluster"), property), said
    assert ClusterMetadata(bootstrap_servers="127.0.0.1:1").config["allow_auto_create_topics"], said


def test_a_kafka_consumer_calls_its_listener_by_these_names():
    expected = {f"on_partitions_{what}" for what in ("revoked", "assigned", "lost")}
    found = {name for name in vars(AsyncConsumerRebalanceListener) if name.startswith("on_")}
    assert found == expected, changed("kafka-python", "AsyncConsumerRebalanceListener", CONSUMER)
