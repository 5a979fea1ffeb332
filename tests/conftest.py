"""No test asks the network, and torch takes one CPU."""

import os
from itertools import count

import pytest
from hypothesis import HealthCheck, settings

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
NUMBERS = count()
settings.load_profile("shared")  # on a busy machine an example may take long


@pytest.fixture
def one_cpu():
    """Trainings side by side would each start a process that imports torch."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small model, trained once in the session, and its logs."""
    import offline_parts

    return offline_parts.trained(tmp_path_factory)


@pytest.fixture(scope="module")
def detector(trained):
    """The small model, opened."""
    from logmlm.detection.detector import Detector

    return Detector.load(trained.model)


@pytest.fixture(scope="module")
def windows(detector, trained):
    """The windows of the log with odd sessions."""
    from logmlm.sources.archive.reader import read_lines

    return list(detector.windows(read_lines([str(trained.odd_log)], 0.0)))


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """A real Apache Kafka, or a skip that says what brings one."""
    from kafka_parts import running_broker

    with running_broker(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture
def topic(broker):
    """A new topic of two partitions."""
    return broker.topic(f"source-{next(NUMBERS)}", 2)


@pytest.fixture
def open_source(broker, topic):
    """Opens sources of that topic, all in one group."""
    from kafka_sources import opener

    with opener(broker, topic) as make:
        yield make
