"""The unit is what systemd calls right and safe, and fits what the daemon does."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from logmlm.config.loader import read_run_config
from logmlm.daemon.control import HEALTHY_WITHIN_S
from logmlm.daemon.signals import GRACE_S
from logmlm.errors import ConfigError, DataError

UNITS = Path(__file__).parents[2] / "systemd"
UNIT = UNITS / "logmlm@.service"
DROP_INS = UNITS / "logmlm@.service.d"
MAX_EXPOSURE = 2.0
needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="needs systemd-analyze (apt install systemd)"
)


def service():
    """The [Service] section; a key given twice has all of its values."""
    found = {}
    section = ""
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif "=" in line and not line.startswith("#") and section == "[Service]":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.fixture
def instance(tmp_path):
    """The unit as an instance that could start here, with any drop-ins that a test copies."""
    text = UNIT.read_text().replace("/opt/logmlm/bin/logmlm", sys.executable)
    path = tmp_path / "logmlm@demo.service"
    path.write_text(text)
    return path


def drop_in(instance, name):
    directory = instance.with_name(instance.name + ".d")
    directory.mkdir(exist_ok=True)
    shutil.copy(DROP_INS / f"{name}.conf.example", directory / f"{name}.conf")


def analyze(*words):
    return subprocess.run(
        ["systemd-analyze", *map(str, words)], capture_output=True, text=True, check=False
    )


@needs_systemd
@pytest.mark.parametrize("names", [(), ("gpu",), ("journal", "credentials")])
def test_systemd_finds_nothing_to_say_against_it(instance, names):
    for name in names:
        drop_in(instance, name)
    told = analyze("verify", "--man=no", instance)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


@needs_systemd
def test_a_key_that_systemd_does_not_know_would_be_found(instance):
    instance.write_text(instance.read_text().replace("UMask=", "UMaks="))
    assert "UMaks" in analyze("verify", "--man=no", instance).stderr


@needs_systemd
@pytest.mark.parametrize("names", [(), ("journal", "credentials")])
def test_its_exposure_is_small(instance, names):
    for name in names:
        drop_in(instance, name)
    told = analyze("security", "--offline=true", "--json=short", "--no-pager", instance)
    assert json.loads(told.stdout)
    limit = round(MAX_EXPOSURE * 10)
    refused = analyze("security", "--offline=true", f"--threshold={limit}", instance)
    assert refused.returncode == 0, refused.stdout.splitlines()[-1]
    assert analyze("security", "--offline=true", "--threshold=1", instance).returncode != 0


@needs_systemd
def test_waiting_for_the_end_of_a_reload_is_for_newer_ones(instance):
    version = int(re.search(r"\d+", analyze("--version").stdout)[0])
    drop_in(instance, "notify-reload")
    told = analyze("verify", "--man=no", instance)
    assert (told.stderr == "") == (version >= 253)


def test_it_may_write_where_the_examples_write():
    """`ProtectSystem=strict` leaves nothing else to write to."""
    config = (UNITS.parent / "configs" / "run.yaml").read_text()
    written = re.findall(r"(?:path|unix|unix_stream): (/(?:var/log|run)/logmlm/\S+)", config)
    assert len(written) == 3
    places = {"/var/log": "LogsDirectory", "/run": "RuntimeDirectory"}
    for path in written:
        root = next(root for root in places if path.startswith(f"{root}/logmlm/"))
        (named,) = service()[places[root]]
        assert Path(path).parent == Path(root) / named.replace("%i", "myapp")
    assert service()["LogsDirectoryMode"] == service()["StateDirectoryMode"] == ["0700"]
    assert service()["RuntimeDirectoryMode"] == ["0755"]  # who sends to a socket has to enter it


def test_what_a_start_would_not_mend_is_not_started_again():
    """systemd heeds the main process's code alone, and would start again what fails before it."""
    hopeless = [str(each.exit_code) for each in (DataError, ConfigError)]
    assert service()["RestartPreventExitStatus"] == [" ".join(hopeless)]
    logmlm = "/opt/logmlm/bin/logmlm"
    assert service()["ExecStartPre"] == [f"-{logmlm} validate /etc/logmlm/%i.yaml"]
    assert service()["ExecStart"] == [f"{logmlm} run --config /etc/logmlm/%i.yaml"]


LOST = "model: {path: m}\nsource: {stdin: {}}\nhttp: {token_file: lost, listen: '127.0.0.1:0'}\n"


@pytest.mark.parametrize("text", [None, "sorce: {}\n", LOST])
def test_the_main_process_itself_says_that_the_configuration_is_wrong(tmp_path, text):
    if text is not None:
        (tmp_path / "demo.yaml").write_text(f"{text}state_dir: {tmp_path}/state\n")
    words = service()["ExecStart"][0].replace("/etc/logmlm/%i", str(tmp_path / "demo")).split()
    ended = subprocess.run(
        [sys.executable, "-m", "logmlm", *words[1:]], capture_output=True, text=True, check=False
    )
    assert ended.returncode == ConfigError.exit_code, ended.stderr


def test_its_times_leave_room_for_what_the_daemon_does():
    assert service()["TimeoutStopSec"] == ["15s"]
    assert GRACE_S < 10
    assert service()["WatchdogSec"] == ["2min"]
    assert HEALTHY_WITHIN_S < 120


def test_every_example_says_where_to_copy_it_and_is_in_force_nowhere_by_itself():
    for example in DROP_INS.iterdir():
        assert example.suffixes == [".conf", ".example"]
        name = example.name.removesuffix(".example")
        assert f"opy to /etc/systemd/system/logmlm@NAME.service.d/{name}\n" in example.read_text()


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="needs systemd-sysusers")
def test_the_user_that_it_runs_as_can_be_made():
    told = subprocess.run(
        ["systemd-sysusers", "--dry-run", UNITS / "sysusers.d" / "logmlm.conf"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0
    assert service()["User"] == service()["Group"] == ["logmlm"]


def test_secrets_are_read_from_systemds_credentials(tmp_path):
    """As the examples and the unit's comment say it."""
    config = tmp_path / "c.yaml"
    config.write_text(
        "model: {path: m}\nsource: {stdin: {}}\n"
        "http: {listen: '127.0.0.1:9464', token_file: '${CREDENTIALS_DIRECTORY}/http-token'}\n"
        "sinks: [{webhook: {url: 'http://h/',"
        " bearer_token_file: '${CREDENTIALS_DIRECTORY}/on-call-token'}}]\n"
    )
    read = read_run_config(config, {"CREDENTIALS_DIRECTORY": "/run/credentials/x"})
    assert read.http.token_file == Path("/run/credentials/x/http-token")
    assert read.sinks[0].webhook.bearer_token_file == Path("/run/credentials/x/on-call-token")
    loaded = re.findall(
        r"^LoadCredential=([^:]+):", (DROP_INS / "credentials.conf.example").read_text(), re.M
    )
    assert loaded == ["on-call-token", "http-token"]


REFUSING = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
if libc.prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit("no such protection")
import torch
torch.nn.functional.gelu(torch.ones(4, 4))
"""


def test_memory_that_is_written_and_run_is_not_denied_because_torch_needs_it():
    ended = subprocess.run(
        [sys.executable, "-c", REFUSING], capture_output=True, text=True, check=False
    )
    if "no such protection" in ended.stderr:
        pytest.skip("needs Linux 6.3 or newer, to refuse memory that is written and run")
    if ended.returncode == 0:
        pytest.skip("torch compiles nothing on this machine; on others it does")
    assert "could not create a primitive" in ended.stderr
    assert "MemoryDenyWriteExecute" not in service()
