"""Redaction: secrets and personal data in log lines are replaced by the name of their kind.

A rule has a name, a pattern, and where the pattern alone can't tell, a check (the Luhn sum of a
payment card, the checksum of an IBAN). What it finds becomes `[name]`: no digest of it, because
digests of addresses and card numbers can be tried out, and because every daemon should write the
same. Nothing is identified by redacted text: ids come from the lines as they are.

Every built-in pattern is linear in the length of the text: it begins with a literal, or with a
look-behind that lets it enter a run of characters at the run's beginning only.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from logmlm.config.regex import is_limited, overruns

_NAMED = r"pass(?:word|wd|code|phrase)|passwort|kennwort"
_ENDS_HARMLESS = "".join(
    rf"(?<!{word})"
    for word in (
        *("count", "total", "type", "name", "names", "size", "length", "limit", "budget", "usage"),
        *("used", "rate", "index", "expiry", "expires", "expiration", "ttl", "_at", "_in", "_age"),
        *("maxage", "seconds", "file", "path", "url", "uri", "endpoint", "version", "policy"),
        *("enabled", "required", "changed", "valid", "status", "state", "error", "algorithm"),
    )
)
"""Of `token_count` or `secretName` the value is no secret."""
_KEYWORD = (
    rf"(?:(?:{_NAMED}|(?<![a-z])pass(?=[\"']?=)"
    r"|(?<![a-z])(?:pwd|pw)(?!\W{1,4}[/~<])|secret|token|credentials?"
    r"|(?:api|access|account|auth|encryption|license|master|private|shared|signing|storage"
    r"|subscription)[_-]?key|access[_-]?signature|session[_-]?id|sessid|sid(?=[\"']?=)"
    r"|(?<=[?&])sig(?:nature)?(?==)|(?:amz|goog)-signature"
    r"|(?<![a-z0-9])sig(?==[a-z0-9%+/_-]{16}|=[^\s&]{1,64}&se=))"
    # The rest of a longer name: secret_key_base, password2, clientSecretValue.
    r"(?:(?:[_-]|[0-9]|(?-i:(?<=[a-z])(?=[A-Z])))[A-Za-z0-9_-]{0,40}+)?+"
    rf"{_ENDS_HARMLESS})"
)
_START_OF_NAME = r"(?!\[[a-z-]{0,40}(?:\]|…|$)|<(?:\*|[A-Z][A-Z0-9_]{0,40})>)"
"""What was redacted or masked before stays as it is, also where it was cut."""
_VALUE = (
    rf"{_START_OF_NAME}"
    r"(\"(?:[^\"\\\n]|\\.)*+\"?|'(?:[^'\\\n]|\\.)*+'?"
    r"|\\{1,3}\"[^\"\n]*+\"?|[^\s,;&\"'<>\\{}()\[\]][^\s,;&\"'<>\\{}()\[\]]*+)"
)
_SEPARATOR = r"(?:\\{0,3}[\"'])?(?:\s{0,3}(?::=|=>|[:=])\s{0,3}|%3[AaDd]|>)"
_ALNUM, _NO_ALNUM = "[A-Za-z0-9]", "(?![A-Za-z0-9])"
_WORD = r"[^\s,;\"'<>\[\](){}=:]"
_MARKED = (
    r"(?!(?:sha|md|scram|bcrypt|pbkdf|argon)[0-9_-]|[/~\\$%]|[\w.-]{1,64}(?:[=(]|:\S))"
    rf"(?={_WORD}{{0,64}}(?:[0-9]|[!@#$^*][A-Za-z0-9]))"
    rf"(?={_WORD}{{0,64}}[A-Za-z]|[0-9]{{4,9}}(?!{_WORD}))"
)
"""Looks ahead at a word that no sentence has: letters with digits or marks, or a long number."""
_IS = r"(?:(?:is|are|was|now|to|set|reset|changed|will\s{1,3}be)[:=]?\s{1,3}){0,3}"
_OF = (
    r"(?:(?:for|of)\s{1,3}(?:user\s{1,3})?[^\s]{1,64}\s{1,3}"
    r"(?=(?:is|was|set|reset|changed)[\s:=]))?"
)
_NUMBER = r"(?![A-Za-z0-9_]|[.:,-][0-9])"
_UNITS = "automount|device|mount|path|scope|service|slice|snapshot|socket|swap|target|timer"
"""After an @ in the name of a systemd unit: `getty@tty1.service` is no address."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is redacted: all that `pattern` matches, or its first group if it has one."""

    name: str
    pattern: re.Pattern[str]
    replacement: str
    is_real: Callable[[str], bool] = lambda _: True
    hints: tuple[str, ...] = ()
    """Texts without any of these words, in small letters, are not searched: it takes a while."""

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where something is found, in order; all of a text that took too long to search."""
        folded = text.casefold()
        if self.hints and not any(hint in folded for hint in self.hints):
            return
        group = min(1, self.pattern.groups)
        if is_limited(self.pattern) and self._took_too_long(text):
            yield 0, len(text)
            return
        for match in self.pattern.finditer(text):
            start, end = match.span(group)
            if end > start and self.is_real(match[group]):
                yield start, end

    def _took_too_long(self, text: str) -> bool:
        before = overruns(self.pattern)
        self.pattern.finditer(text)
        return overruns(self.pattern) > before

    def redact(self, text: str) -> str:
        """Return `text` with all that is found replaced."""
        parts, done = [], 0
        for start, end in self.spans(text):
            parts += [text[done:start], self.replacement]
            done = end
        return "".join((*parts, text[done:])) if parts else text


def is_card(text: str) -> bool:
    """Return whether digits are a payment card's number (ISO/IEC 7812: issuer, length, Luhn)."""
    digits = [int(c) for c in text if c.isdigit()]
    if len(set(digits)) == 1 or len(digits) not in _card_lengths(digits):
        return False
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _card_lengths(digits: Sequence[int]) -> Collection[int]:
    """Lengths of the issuer's numbers: Visa, Mastercard, Discover, JCB, Maestro, Amex, Diners."""
    first, four = digits[0], int("".join(map(str, digits[:4])))
    if first == 4:
        return (13, 16, 19)
    if first == 5 or 2221 <= four <= 2720:
        return (16,)
    if first == 6:
        return (16, 17, 18, 19)
    if first == 3:
        return {4: (15,), 7: (15,), 5: (16,)}.get(digits[1], (14,))
    return ()


def is_basic(text: str) -> bool:
    """Return whether text is `user:password` in base64, as RFC 7617 sends it."""
    try:
        plain = b64decode(text + "=" * (-len(text) % 4), b"-_" if {"-", "_"} & {*text} else None)
        return ":" in plain.decode() and plain.decode().isprintable()
    except ValueError:
        return False


def is_iban(text: str) -> bool:
    """Return whether the two check digits of an IBAN fit (ISO 13616, modulo 97)."""
    plain = text.replace(" ", "")
    moved = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


_PATTERNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "private-key": r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[^-]|-(?!----END))*+(?:-----END [A-Z0-9 ]{0,40}-----)?",
        "jwt": r"(?<![\w-])eyJ[\w-]{6,}+\.eyJ[\w-]{6,}+(?:\.[\w-]*+)?",
        "authorization": r"(?i)authorization(?:\\{0,3}[\"'])?\s{0,3}[:=]\s{0,3}(?:\\{0,3}[\"'])?"
        r"(?:(?:basic|bearer|digest|token|apikey|negotiate|ntlm)\s{1,3})?+"
        rf"{_START_OF_NAME}([^\s\"',;\\]++)",
        "bearer": r"(?i)(?<![a-z])bearer\s{1,3}([\w.~+/=-]{16,}+"
        r"|(?=[a-z._~+/=-]{0,15}[0-9])[\w.~+/=-]{6,}+)",
        "basic": r"(?i)(?<![a-z])basic\s{1,3}([a-z0-9+/_-]{4,}+={0,2})",
        "cookie": r"(?i)(?<![a-z])cookie2?(?:\\{0,3}[\"'])?(?:\s{0,3}:\s{0,3}|=)"
        rf"(?:\\{{0,3}}[\"'])?{_START_OF_NAME}"
        r"([^\s\"'\\\]][^\r\n\"'\\]*+)",
        "api-key": rf"(?<!{_ALNUM})(?:A(?:KIA|SIA|GPA|IDA|ROA|NPA|NVA|IPA|CCA)[A-Z0-9]{{16}}"
        rf"|gh[pousr]_{_ALNUM}{{30,255}}|github_pat_\w{{22,255}}|glpat-[\w-]{{20,}}+"
        r"|xox[a-z]-[\w-]{10,}+|xapp-[\w-]{10,}+|AIza[\w-]{35}|ya29\.[\w-]{20,}+"
        rf"|[sr]k_(?:live|test)_{_ALNUM}{{16,}}+|whsec_[\w+/=]{{20,}}+|sk-[\w-]{{20,}}+"
        rf"|npm_{_ALNUM}{{36}}|pypi-[\w-]{{50,}}+|hf_{_ALNUM}{{30,}}+|dop_v1_[a-f0-9]{{64}}"
        r"|SG\.[\w-]{16,}+\.[\w-]{16,}+|hv[sb]\.[\w-]{20,}+|AGE-SECRET-KEY-1[A-Z0-9]{20,}+"
        rf"){_NO_ALNUM}"
        r"|(?<=hooks\.slack\.com/)(?:services|workflows)/[\w/-]{8,}+"
        r"|(?<=discord\.com/api/webhooks/)[\w/-]{8,}+",
        "url-credentials": r"(?<=://)(?!\[[a-z-]{1,40}\]@)[^\s/?#@\"'<>]{1,512}(?=@)",
        "password": rf"(?i){_KEYWORD}{_SEPARATOR}{_VALUE}",
        "password-argument": r"(?i)(?<![\w-])--?(?:password|passwd|pass|token|secret|api-?key)"
        rf"\s{{1,3}}(?!-){_VALUE}",
        "password-in-sql": r"(?i)(?:password|identified\s{1,3}by)\s{1,3}"
        r"('(?:[^'\\\n]|\\.|'')*+'?)",
        "password-in-text": rf"(?i)(?<![a-z])(?:(?:{_NAMED}|pwd|pass)\s{{1,3}}{_OF}{_IS}"
        rf"(?=[\"']?{_WORD}{{4}})|(?:secret|token|(?:api|access)[ _-]?key)\s{{1,3}}{_IS}"
        rf"(?=[\"']?{_WORD}{{12}})){_START_OF_NAME}(?=[\"']?{_MARKED})"
        rf"(\"[^\"\n]*+\"?|'[^'\n]*+'?|{_WORD}++)",
        "pin": r"(?i)(?:(?<![a-z0-9])|(?-i:(?<=[a-z])(?=[A-Z])))(?:t?otp|pin|cv[vc]2?"
        r"|(?:verification|security|mfa|2fa|sms)[ _-]?code)(?:[ _-]?code)?"
        rf"(?:{_SEPARATOR}|\s{{1,3}}(?:is[:=]?\s{{1,3}})?)(?:\\{{0,3}}[\"'])?"
        rf"([0-9]{{4,10}}{_NUMBER}|(?<=cv[vc2][=: ])[0-9]{{3}}{_NUMBER}"
        rf"|(?<=cv[vc2]\"[=:])[0-9]{{3}}{_NUMBER}|(?<=cv[vc2]\": )[0-9]{{3}}{_NUMBER})",
        "email": rf"(?<![\w.%+-])[\w%+-](?:[\w.%+-]{{0,63}})@(?:[\w-]{{1,63}}\.){{1,8}}"
        rf"(?!(?:{_UNITS})(?![\w-]))[^\W\d_]{{2,63}}(?![\w-])",
        "card": r"(?<![\w.,:+-])[2-6](?:[0-9]|[ -](?=[0-9])){11,22}[0-9](?![\w-]|[.,:][0-9])",
        "iban": r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?"
        rf"{_NO_ALNUM}",
    }
)
_CHECKS: Final[Mapping[str, Callable[[str], bool]]] = MappingProxyType(
    {"basic": is_basic, "card": is_card, "iban": is_iban}
)
_HINTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "private-key": ("private key",),
        "authorization": ("authorization",),
        "bearer": ("bearer",),
        "basic": ("basic",),
        "cookie": ("cookie",),
        "password": (
            *("pass", "pw", "secret", "token", "credential", "key", "sess", "sid", "sig"),
            "kennwort",
        ),
        "password-argument": ("pass", "token", "secret", "key"),
        "password-in-sql": ("password", "identified"),
        "password-in-text": ("pass", "pwd", "token", "secret", "key", "kennwort"),
        "pin": ("otp", "pin", "cvv", "cvc", "code"),
        "url-credentials": ("://",),
        "email": ("@",),
    }
)
RULE_NAMES: Final = tuple(_PATTERNS)
"""Names of the built-in rules, in the order in which they are applied."""


@cache
def built_in_rules() -> tuple[Rule, ...]:
    """Return the built-in rules, compiled once."""
    return tuple(
        Rule(
            *(name, re.compile(pattern), f"[{name}]", _CHECKS.get(name, lambda _: True)),
            hints=_HINTS.get(name, ()),
        )
        for name, pattern in _PATTERNS.items()
    )


class Redactor:
    """Rules applied one after the other, each to what those before it left.

    `disable` names built-in rules to leave out; `extra` are rules of the user's own, which come
    first.
    """

    def __init__(self, disable: Collection[str] = (), extra: Sequence[Rule] = ()) -> None:
        self.rules = (*extra, *(rule for rule in built_in_rules() if rule.name not in disable))

    def __call__(self, text: str) -> str:
        """Return `text` without what the rules find."""
        for rule in self.rules:
            text = rule.redact(text)
        return text

    def matching_rules(self, text: str) -> list[str]:
        """Return the names of the rules that find something, in their order."""
        return [rule.name for rule in self.rules if any(rule.spans(text))]

    def secrets(self, text: str) -> list[str]:
        """Return the pieces of text that the rules find, each of them in the text as it is."""
        return [text[a:b] for rule in self.rules for a, b in rule.spans(text)]
