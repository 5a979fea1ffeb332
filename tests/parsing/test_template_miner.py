"""Learning and matching templates, the properties that hold for any lines, and the file."""

import copy
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.config.redaction import Redactor
from logmlm.config.training import MaskConfig, TemplateConfig
from logmlm.errors import ConfigError, ModelError, StorageError
from logmlm.parsing.template_miner import TemplateMiner, template_id
from logmlm.parsing.template_state import digest_of
from logmlm.records import UNKNOWN_TEMPLATE

HERE = Path(__file__).parents[1]
DATA = Path(os.environ.get("LOGMLM_DATA", HERE.parents[1] / "shared/data")) / "loghub2k"
WORDS = st.sampled_from(["a", "b", "c", "<*>", "7", "x1", "<NUM>", "é", "\ud800", "/v/w", "…"])
LINES = st.lists(WORDS, max_size=5).map(" ".join)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
CONFIGS = st.builds(
    TemplateConfig,
    similarity=st.sampled_from([0.01, 0.3, 0.5, 0.75, 1.0]),
    depth=st.integers(3, 6),
    max_children=st.integers(2, 4),
    max_templates=st.sampled_from([1, 2, 5, 1000]),
)


def learned(lines: list[str], config: TemplateConfig | None = None) -> TemplateMiner:
    templates = TemplateMiner(config or TemplateConfig())
    for line in lines:
        templates.learn(line)
    return templates


@pytest.fixture
def ssh() -> TemplateMiner:
    return learned(
        [
            "Failed password for root from 10.0.0.1 port 22 ssh2",
            "Failed password for bob from 10.0.0.2 port 4242 ssh2",
            "Connection closed",
        ]
    )


def test_lines_that_differ_in_a_word_share_a_template(ssh: TemplateMiner) -> None:
    first, second = ssh
    assert first.text == "Failed password for <*> from <IP> port <NUM> ssh2"
    assert (first.count, second.count, len(ssh), ssh.lines) == (2, 1, 2, 3)
    assert first.example == "Failed password for root from <IP> port <NUM> ssh2"


def test_an_unseen_value_matches_and_another_line_is_unknown(ssh: TemplateMiner) -> None:
    first, _ = ssh
    assert ssh.match("Failed password for zoe from 10.9.9.9 port 1 ssh2") == first.id
    assert ssh.match("Failed password for zoe") == UNKNOWN_TEMPLATE
    assert ssh.match("") == UNKNOWN_TEMPLATE


def test_matching_changes_nothing(ssh: TemplateMiner) -> None:
    before = ssh.dump()
    ssh.match("Failed password for zoe from 10.9.9.9 port 1 ssh2")
    ssh.match("something else")
    assert ssh.dump() == before


def test_an_id_is_a_hash_of_the_first_line_and_stays_when_the_template_widens(
    ssh: TemplateMiner,
) -> None:
    birth = "Failed password for root from <IP> port <NUM> ssh2"
    expected = hashlib.sha256(birth.encode()).hexdigest()[:12]
    assert next(iter(ssh)).id == expected
    found = ssh.get(expected)
    assert found is not None
    assert "<*>" in found.text


def test_a_taken_id_is_made_longer() -> None:
    plain = template_id(["a", "b"], ())
    longer = template_id(["a", "b"], {plain})
    assert len(plain) == 12
    assert (len(longer), longer[:12]) == (13, plain)


def test_get_of_an_unknown_id_is_none(ssh: TemplateMiner) -> None:
    assert ssh.get(UNKNOWN_TEMPLATE) is None


def test_only_the_first_line_of_a_message_is_a_template_and_the_example_is_cut() -> None:
    message = "\n  boom in 3 s\n  at f()\n" + "x" * 400
    (masked,) = learned([message])
    assert (masked.text, masked.example) == ("boom in <DURATION>", "boom in <DURATION>")
    templates = learned([message], TemplateConfig(examples=True))
    (only,) = templates
    assert only.text == "boom in <DURATION>"
    assert only.example.startswith("boom in 3 s\n  at f()")
    assert len(only.example) == 300
    assert templates.match("boom in 5 s") == only.id


def test_an_empty_message_has_a_template_of_its_own() -> None:
    templates = learned(["", "a", " \n"])
    assert [template.text for template in templates] == ["", "a"]
    assert templates.match("") == next(iter(templates)).id


def test_learning_masked_messages_is_the_same_as_learning_messages() -> None:
    lines = ["took 5 ms", "took 7 s", "left room 9"]
    masked = TemplateMiner(TemplateConfig())
    ids = [masked.learn_masked(masked.mask(line), line) for line in lines]
    plain = learned(lines)
    assert masked.dump() == plain.dump()
    assert ids == [plain.match(line) for line in lines]
    assert masked.match_masked("left room <NUM>") == plain.match("left room 4")


def test_a_full_tree_still_widens_but_refuses_what_fits_nothing() -> None:
    config = TemplateConfig(max_templates=1, similarity=0.5)
    templates = TemplateMiner(config)
    first = templates.learn("user ann left")
    assert templates.learn("user bob left") == first
    assert templates.learn("disk full") == UNKNOWN_TEMPLATE
    assert templates.match("user zoe left") == first
    assert (len(templates), templates.lines, templates.refused) == (1, 3, 1)
    assert "1 of 3 lines were refused" in templates.diagnose()[0]


def test_a_template_that_widened_no_longer_goes_before_one_with_the_word() -> None:
    lines = ["a b c", "a z c", "a b d", "a b e"]
    templates = learned(lines, TemplateConfig(similarity=0.6))
    first, second = templates
    assert (first.text, second.text) == ("a <*> c", "a b <*>")
    assert templates.match("a b c") == second.id
    assert TemplateMiner.load(templates.dump()).match("a b c") == second.id


def test_the_status_of_a_web_request_stays_apart_and_its_numbers_do_not() -> None:
    templates = learned(
        ["GET /products/17 200", "GET /products/18 200", "GET /products/3 500", "GET /cart 200"]
    )
    assert [(template.text, template.count) for template in templates] == [
        ("GET /products/<NUM> 200", 2),
        ("GET /products/<NUM> 500", 1),
        ("GET /cart 200", 1),
    ]


@settings(max_examples=80, deadline=None)
@given(CONFIGS, st.lists(LINES, max_size=30))
def test_a_line_that_was_learned_always_matches_again(
    config: TemplateConfig, lines: list[str]
) -> None:
    templates = TemplateMiner(config)
    taken = [line for line in lines if templates.learn(line) != UNKNOWN_TEMPLATE]
    again = TemplateMiner.load(json.loads(json.dumps(templates.dump())))
    for line in taken:
        assert templates.match(line) != UNKNOWN_TEMPLATE
        assert again.match(line) == templates.match(line)
    assert len(templates) <= config.max_templates
    assert templates.refused == len(lines) - len(taken)
    assert sum(template.count for template in templates) == len(taken)


@settings(max_examples=50, deadline=None)
@given(CONFIGS, st.lists(LINES, max_size=30))
def test_learning_the_same_lines_again_changes_nothing_but_counts(
    config: TemplateConfig, lines: list[str]
) -> None:
    templates = TemplateMiner(config)
    taken = [line for line in lines if templates.learn(line) != UNKNOWN_TEMPLATE]
    before = [(template.id, template.text) for template in templates]
    assert [templates.learn(line) for line in taken] == [templates.match(line) for line in taken]
    assert [(template.id, template.text) for template in templates] == before


@settings(max_examples=50, deadline=None)
@given(CONFIGS, st.lists(LINES, max_size=20), st.lists(LINES | ANY_TEXT, max_size=20))
def test_a_tree_read_back_matches_and_grows_as_the_first_would(
    config: TemplateConfig, lines: list[str], later: list[str]
) -> None:
    first = learned(lines, config)
    second = TemplateMiner.load(json.loads(json.dumps(first.dump())))
    assert second.dump() == first.dump()
    assert [second.match(line) for line in later] == [first.match(line) for line in later]
    assert [second.learn(line) for line in later] == [first.learn(line) for line in later]
    assert second.dump() == first.dump()


@settings(max_examples=50, deadline=None)
@given(st.lists(ANY_TEXT, max_size=10))
def test_ids_do_not_change_when_the_tree_grows(lines: list[str]) -> None:
    templates = learned(lines)
    before = [template.id for template in templates]
    for line in ["a b", "a c", "9 9", *lines]:
        templates.learn(line)
    assert [template.id for template in templates][: len(before)] == before


def test_a_saved_file_is_read_back(ssh: TemplateMiner, tmp_path) -> None:
    path = tmp_path / "templates.json"
    learned_here = learned(["lone \ud800 surrogate", "naïve café"])
    for templates in (ssh, learned_here):
        templates.save(path)
        again = TemplateMiner.read(path)
        assert again.dump() == templates.dump()
        assert again.digest == templates.digest == json.loads(path.read_text())["digest"]


def test_masks_are_kept_with_the_templates() -> None:
    config = TemplateConfig(
        masks=("NUM",), extra_masks=(MaskConfig(name="USER", pattern=r"(?<=user )\w+"),)
    )
    again = TemplateMiner.load(learned(["user ann has 3"], config).dump())
    assert again.mask("user bob has 4 in /tmp/x") == "user <USER> has <NUM> in /tmp/x"
    assert again.config == config


def test_a_mask_of_an_older_version_is_still_used() -> None:
    state = TemplateMiner(TemplateConfig(masks=("NUM",))).dump()
    state["masks"] = [{"name": "OLD", "pattern": "z"}]
    state["config"]["masks"] = ["OLD"]
    state["digest"] = digest_of(state)
    assert TemplateMiner.load(state).mask("z 1") == "<OLD> 1"


def test_a_name_that_is_no_mask_is_refused() -> None:
    with pytest.raises(ConfigError, match="no built-in mask 'NOPE'; choose from STATUS, TIME"):
        TemplateMiner(TemplateConfig(masks=("NUM", "NOPE")))


def resealed(state: dict, *path: object, value: object) -> dict:
    state = copy.deepcopy(state)
    place = state
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return {**state, "digest": digest_of(state)}


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (("version",), 2, "is of version 2, this logmlm reads 1"),
        (("version",), "one", "version: "),
        (("version",), 0, "version: "),
        (("config", "depth"), 1, "config.depth"),
        (("masks",), [{"name": "BAD", "pattern": "("}], "masks.0.pattern"),
        (("masks",), [{"name": "BAD", "pattern": "x*"}], "matches the empty text"),
        (("lines",), -1, "lines"),
        (("more",), 1, "more"),
        (("templates", 0, "count"), 0, "templates.0.count"),
        (("templates", 0, "id"), "beef", "template 'beef' is damaged"),
        (("templates", 0, "birth"), "another first line", "is damaged"),
        (("templates", 0, "text"), "Failed password", "is damaged"),
        (("templates", 1, "text"), "Connection opened", "is damaged"),
        (("templates",), None, "templates"),
    ],
)
def test_a_damaged_state_is_named(ssh: TemplateMiner, path, value, text) -> None:
    with pytest.raises(ModelError, match=r"^file") as caught:
        TemplateMiner.load(resealed(ssh.dump(), *path, value=value), "file")
    assert text in str(caught.value)


def test_a_template_that_stands_twice_is_named(ssh: TemplateMiner) -> None:
    twice = [ssh.dump()["templates"][0]] * 2
    with pytest.raises(ModelError, match="is damaged"):
        TemplateMiner.load(resealed(ssh.dump(), "templates", value=twice))


@pytest.mark.parametrize("state", [None, [], 3, "x", {}])
def test_what_is_no_state_is_damaged(state: object) -> None:
    with pytest.raises(ModelError, match="is damaged"):
        TemplateMiner.load(state)


def test_an_edited_file_does_not_fit_its_digest(ssh: TemplateMiner) -> None:
    with pytest.raises(ModelError, match="digest does not fit"):
        TemplateMiner.load({**ssh.dump(), "lines": 4})


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b"NaN"])
def test_a_file_that_is_no_json_is_damaged(content: bytes, tmp_path) -> None:
    path = tmp_path / "templates.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is damaged"):
        TemplateMiner.read(path)


def test_a_missing_file_and_an_unreadable_one_are_told_apart(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"templates\.json is missing"):
        TemplateMiner.read(tmp_path / "templates.json")
    with pytest.raises(StorageError, match="can't read"):
        TemplateMiner.read(tmp_path)


def test_a_cut_file_never_gives_anything_but_a_model_error(ssh: TemplateMiner, tmp_path) -> None:
    path = tmp_path / "templates.json"
    ssh.save(path)
    content = path.read_bytes()
    for length in range(0, len(content) - 2, 97):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError):
            TemplateMiner.read(path)


def test_lines_that_template_well_have_no_problems() -> None:
    lines = [f"user {name} left room {room}" for name in "abc" for room in range(50)]
    assert learned(lines).diagnose() == []


def test_few_lines_are_not_judged() -> None:
    assert learned([f"odd {'x' * n}" for n in range(20)]).diagnose() == []


def test_too_many_templates_are_named_with_a_mask_that_helps() -> None:
    names = [f"svc{a}{b}" for a in "abcdefghijk" for b in "abcdefghijk"]
    lines = [f"starting service {name}" for name in names]
    first, second = learned(lines).diagnose()
    assert first == "121 templates are too many for 121 lines."
    pattern = second.split("pattern: '")[1].removesuffix("'}")
    config = TemplateConfig(extra_masks=(MaskConfig(name="WORD", pattern=pattern),))
    helped = learned(lines, config)
    assert [template.text for template in helped] == ["starting service <WORD>"]


def test_a_mask_is_proposed_where_two_words_vary() -> None:
    lines = [f"user u{n}x logged in from place p{n}q" for n in range(1_500)]
    _, said = learned(lines).diagnose()
    assert said.startswith(
        "1000 or more templates differ only in '…' of 'user … logged in from place …', such as"
    )
    pattern = said.split("pattern: '")[1].removesuffix("'}")
    config = TemplateConfig(extra_masks=(MaskConfig(name="WORD", pattern=pattern),))
    (found,) = learned(lines, config)
    assert found.text == "user <WORD> logged in from place <WORD>"


def test_templates_seen_once_are_named() -> None:
    lines = ["tick"] * 200 + [f"gone is {'ab'[n % 2]}{'y' * n}" for n in range(20)]
    problems = learned(lines).diagnose()
    assert problems[0] == (
        "20 of 21 templates were seen only once in 220 lines, "
        "so about 9.1% of new lines will match none; learn more lines."
    )
    assert "20 templates differ only in '…' of 'gone is …', such as 'a'" in problems[1]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs loghub's samples in {DATA} (LOGMLM_DATA)")
def test_no_sample_of_loghub_is_grouped_worse_than_by_plain_drain3() -> None:
    command = [sys.executable, HERE / "bench/templates.py", "--data", DATA, "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    results = json.loads(done.stdout)
    assert len(results) == 9
    assert [row["sample"] for row in results if row["logmlm"] < row["drain3"]] == []
    assert done.returncode == 0
    published = {row["sample"]: row["drain3"] for row in results}
    assert (published["HDFS"], published["BGL"], published["Apache"]) == (0.9975, 0.9625, 1.0)


SECRETS = (
    ("login password=hunter2 for 7", "login <*> for <NUM>"),
    ("login password=hunter<b for 7", "login <*> for <NUM>"),
    ("mail to bob@example.com sent", "mail to <EMAIL> sent"),
    ("Authorization: Basic dXNlcjpwYXNzd29yZA== refused", "Authorization: Basic <*> refused"),
    ("paid with 4111 1111 1111 1111 now", "paid with <NUM> <NUM> <NUM> <NUM> now"),
    ("key AKIAIOSFODNN7EXAMPLE used", "key <*> used"),
    ("token=!!!!! used", "<*> used"),
)


@pytest.mark.parametrize(("message", "text"), SECRETS)
def test_a_secret_is_no_part_of_a_template(message: str, text: str) -> None:
    templates = learned([message])
    (only,) = templates
    assert only.text == only.example == text
    assert templates.match(message) == only.id
    state = json.dumps(templates.dump())
    assert not any(secret in state for secret in Redactor().secrets(message))
    again = TemplateMiner.load(json.loads(state))
    assert again.match(message) == only.id
    assert again.digest == templates.digest


def test_lines_with_other_secrets_are_of_the_same_template() -> None:
    templates = learned([f"login password={word} ok" for word in ("hunter", "swordfish", "abc")])
    assert [(each.text, each.count) for each in templates] == [("login <*> ok", 3)]
    assert templates.match("login password=never-seen ok") == next(iter(templates)).id


def test_an_example_that_is_asked_for_is_redacted_before_it_is_cut() -> None:
    message = "x" * 290 + " password=hunter2hunter2"
    (only,) = learned([message], TemplateConfig(examples=True))
    assert only.example == message[:290] + " password="
