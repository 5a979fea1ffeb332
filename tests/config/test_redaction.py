"""Redaction rules: what they find, what they leave, and that no line holds them up."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logmlm.config.redaction import RULE_NAMES, Redactor, built_in_rules, is_card, is_iban
from logmlm.config.training import RedactionConfig

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-_x"
FOUND = (
    ("password", "login password=hunter2 ok", "login password=[password] ok"),
    ("password", '{"password":"hunter2 x","a":1}', '{"password":[password],"a":1}'),
    ("password", r"{\"db_password\":\"hunter2 y\"}", r"{\"db_password\":[password]}"),
    ("password", "<password>hunter2</password>", "<password>[password]</password>"),
    ("password", "pwd: hunter2", "pwd: [password]"),
    ("password", "GET /?token=abc123&x=1", "GET /?token=[password]&x=1"),
    ("password", "x-api-key: 77aa", "x-api-key: [password]"),
    ("password", "client_secret='cut in the mid", "client_secret=[password]"),
    (
        "password-argument",
        "mysql --password hunter2 -u x",
        "mysql --password [password-argument] -u x",
    ),
    ("password-in-sql", "WITH PASSWORD 'a b''c';", "WITH PASSWORD [password-in-sql];"),
    ("authorization", "Authorization: Basic dXNlcjpw", "Authorization: Basic [authorization]"),
    ("authorization", "authorization=hunter2", "authorization=[authorization]"),
    ("bearer", "sent Bearer abcdefghijklmnop.q", "sent Bearer [bearer]"),
    ("cookie", "Set-Cookie: sid=1; Path=/", "Set-Cookie: [cookie]"),
    ("email", "mail bob.smith+x@mail.example.com now", "mail [email] now"),
    ("email", "jürgen@bücher.example", "[email]"),
    ("card", "card 4111 1111 1111 1111 ok", "card [card] ok"),
    ("card", "card 5555-5555-5555-4444.", "card [card]."),
    ("card", "378282246310005", "[card]"),
    ("iban", "to DE89 3704 0044 0532 0130 00 today", "to [iban] today"),
    (
        "url-credentials",
        "postgres://bob:s3cr3t@db:5432/x",
        "postgres://[url-credentials]@db:5432/x",
    ),
    ("api-key", "key AKIAIOSFODNN7EXAMPLE end", "key [api-key] end"),
    ("api-key", "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[api-key]"),
    ("api-key", "xoxb-123456789012-abcdef", "[api-key]"),
    ("api-key", "https://hooks.slack.com/services/T0/B0/XyZ", "https://hooks.slack.com/[api-key]"),
    ("jwt", f"jwt {JWT}", "jwt [jwt]"),
    ("password", "secret_key_base=zzz111yyy222", "secret_key_base=[password]"),
    ("password", "Name=x;AccountKey=azureKey11==;S=c", "Name=x;AccountKey=[password];S=c"),
    ("password", "SharedAccessKey=ab1=;", "SharedAccessKey=[password];"),
    ("password", "SharedAccessSignature=ab1", "SharedAccessSignature=[password]"),
    (
        "password",
        "dbPasswordValue: abc, password2=x",
        "dbPasswordValue: [password], password2=[password]",
    ),
    ("password", "JWT_SECRET=abc private_key=x1", "JWT_SECRET=[password] private_key=[password]"),
    ("password", "GET /?sv=1&sig=a%2Bd&se=2", "GET /?sv=1&sig=[password]&se=2"),
    ("password", "sig=azureSig22&se=2027", "sig=[password]&se=2027"),
    ("password", "&X-Amz-Signature=ab1&x=1", "&X-Amz-Signature=[password]&x=1"),
    ("basic", "sent basic dXNlcjpiYXNpY3B3OTk= ok", "sent basic [basic] ok"),
    ("bearer", "bearer tok9988", "bearer [bearer]"),
    ("password-in-text", "password hunter3xyz", "password [password-in-text]"),
    ("password-in-text", "with password qwertyPw1.", "with password [password-in-text]"),
    ("password-in-text", "pwd is letmein42 now", "pwd is [password-in-text] now"),
    ("password-in-text", "passphrase 'corr3ct horse'", "passphrase [password-in-text]"),
    (
        "password-in-text",
        "password of bob set to p@ss",
        "password of bob set to [password-in-text]",
    ),
    ("password-in-text", "token 9f8e7d6c5b4a", "token [password-in-text]"),
    ("pin", "otp=123456 pin: 9876", "otp=[pin] pin: [pin]"),
    ("pin", '{"otp": "123456", "cvv": 123}', '{"otp": "[pin]", "cvv": [pin]}'),
    ("pin", "your verification code is 482913.", "your verification code is [pin]."),
    ("private-key", f"read {KEY} ok", "read [private-key] ok"),
    ("private-key", "-----BEGIN PRIVATE KEY-----\nMII", "[private-key]"),
)
LEFT = (
    "Failed password for root from 1.2.3.4 port 22 ssh2",
    "checking password for req-1",
    "password for user X was changed, password is required, invalid password for root",
    "password for user2 was changed; password set to expire; password 2024-05-06 10:00:00",
    "Failed password for invalid user admin1; password uid=0; password sha256 hash",
    "pin 4 is high, pin: 17, spin=12345, token expired, unexpected token 5 at line 12",
    "token_count=5 secretName=web token_type=x password_changed_at=5 tokens_used=9",
    "sig=11 sig=SIGSEGV; basic authentication, Basic auth1; bearer of news",
    "tokens=500 bypass=1 tokenizer=x",
    "sudo: bob : TTY=pts/0 ; PWD=/home/bob ; USER=root",
    "getty@tty1.service started, user@1000.slice",
    "root@10.0.0.1 app@shop",
    "blk_4568434182693165548 blk_-4568434182693165548",
    "at 1795255200268, 4111111111111112 is no card, 4444444444444444 neither",
    "https://example.com/@alice",
    "Authorization: Basic <*> sent, password=<NUM>, Authorization: Basic [author…",
    "2026-11-21 10:16:36 UTC [800] LOG:  connection authorized: user=app database=shop",
)


@pytest.mark.parametrize(("rule", "text", "shown"), FOUND)
def test_each_kind_is_found_and_nothing_else_of_the_line(rule, text, shown):
    assert Redactor()(text) == shown
    assert rule in Redactor().matching_rules(text)
    assert Redactor(disable=[rule])(text) != shown


def test_every_rule_has_an_example():
    assert {rule for rule, _, _ in FOUND} == set(RULE_NAMES)


@pytest.mark.parametrize("text", LEFT)
def test_what_is_none_stays(text):
    assert Redactor()(text) == text


PIECES = st.sampled_from(
    [text for _, text, _ in FOUND] + [" ", "=", ":", '"', "\\", "[", "]", "\n"]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=6).map("".join))
def test_redacting_again_changes_nothing(text):
    once = Redactor()(text)
    assert Redactor()(once) == once


@given(st.text())
def test_any_text_is_taken(text):
    redactor = Redactor()
    assert (redactor(text) == text) == (redactor.matching_rules(text) == [])


def test_luhn_and_iban_by_their_published_examples():
    cards = ("4111111111111111", "4222222222222", "5105105105105100", "6011111111111117")
    assert all(map(is_card, (*cards, "30569309025904", "3530111333300000")))
    assert not any(is_card(card[:-1] + str((int(card[-1]) + 1) % 10)) for card in cards)
    assert is_iban("GB82 WEST 1234 5698 7654 32")
    assert not is_iban("GB83 WEST 1234 5698 7654 32")


UNITS = (
    *map(chr, range(128)),
    *("é", "٣", "日", "eyJ", "a@", "a.", "@a.", "1 ", "1-", "4 ", "a-", "a%", "pwd "),
    *("password", "pw="),
    *(
        "password=",
        'password="',
        "password=[",
        "://",
        "://a",
        "-----",
        "-----BEGIN ",
        "Bearer ",
        "bearer a",
    ),
    *("-----BEGIN PRIVATE KEY-----", "AB12 ", "sk-", "xoxb-", "ghp_a", "cookie:", "Authorization:"),
    *(
        '\\"',
        "PASSWORD '",
        "identified by ",
        "--password ",
        "DE89",
        "secret_key",
        "SG.a",
        "[email]",
    ),
    *("eyJaaaaaa.eyJ", "authorization basic ", "pass:", "secret_", "secret_key_", "passwordA"),
    *(
        "password ",
        "password is ",
        "password for a is ",
        "password a1",
        "password a",
        "is ",
        "basic ",
    ),
    *("basic a", "otp ", "pin=1", "pin is ", "sig=", "?sig=a", "token a1", "pwd for "),
)


@pytest.mark.parametrize("rule", built_in_rules(), ids=lambda rule: rule.name)
def test_the_time_for_a_line_grows_with_its_length_alone(rule):
    """Four times the text takes no sixteen times the time; measured in CPU time, the best of 3."""

    def best(text):
        return min(_cpu_s(rule, text) for _ in range(3))

    for unit in UNITS:
        short, long = ((unit * (size // len(unit) + 1))[:size] for size in (25_600, 102_400))
        assert best(long) < 10 * best(short) + 0.05, repr(unit)


def _cpu_s(rule, text):
    began = time.process_time()
    rule.redact(text)
    return time.process_time() - began


def test_rules_of_ones_own_come_first_and_replace_their_first_group():
    config = RedactionConfig.model_validate(
        {
            "disable": ["email"],
            "rules": [
                {"name": "badge", "pattern": r"badge (\d+)"},
                {"name": "host", "pattern": r"\w+\.corp", "replacement": "(host)"},
            ],
        }
    )
    text = "badge 77 at db1.corp by bob@example.com, password=x1"
    shown = "badge [badge] at (host) by bob@example.com, password=[password]"
    assert config.redactor()(text) == shown


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"disable": ["emial"]}, "there is no rule 'emial' to disable; there are private-key"),
        ({"rules": [{"name": "x", "pattern": "("}]}, "is no regular expression"),
        ({"rules": [{"name": "X y", "pattern": "a"}]}, "pattern"),
    ],
)
def test_a_mistake_in_the_config_is_said(config, said):
    with pytest.raises(ValueError, match=said):
        RedactionConfig.model_validate(config)
