"""Check the recordings: enough lines, and faults that show what is claimed.

A line's template is the line with numbers, names in quotes, addresses and
hexadecimal words masked. For each incident the templates of its interval that
normal running lacks are counted; where only order, number or absence is to
show, there must be none, and where new lines are claimed, there must be some.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import re
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

LEAST = 20_000
ERROR_LEAST = 1_000  # nginx's error log is the smaller by nature
LIMIT = 6_000_000
MASKS = (
    (re.compile(r"'[^']*'"), "'S'"),
    (re.compile(r'((?:vacuum|analyze) of table|^\tindex) "[^"]*"'), r"\1 NAME"),
    (re.compile(r"\b[0-9a-f]{32,40}\b"), "<hash>"),
    (re.compile(r"\b\d+(\.\d+){3}\b"), "<ip>"),
    (re.compile(r"(?<![A-Za-z])-?\d+(\.\d+)?"), "#"),
    (re.compile(r"\d+"), "#"),
)
POSTGRESQL = re.compile(r"(?P<t>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) UTC \[\d+\] (?P<text>.*)")
ACCESS = re.compile(r"(?P<ip>\S+) - (?P<user>\S+) \[(?P<t>[^]]+)\] (?P<text>.*)")
ERROR = re.compile(r"(?P<t>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) (?P<text>.*)")
REDIS = re.compile(
    r"\d+:(?P<role>[A-Z]|signal-handler \(\d+\)) (?P<t>\d\d \w{3} \d{4} [\d:.]+ )?(?P<text>.*)"
)
STATUS = re.compile(
    r'"(?P<request>[^"]*)" (?P<status>\d{3}) \d+ "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"'
)
CLOSED = re.compile(r"- Client closed connection .*( name=\S* ).*(?: cmd=(\S+) user=(\S+) )")
FORMATS = {
    "postgresql": (POSTGRESQL, "%Y-%m-%d %H:%M:%S.%f"),
    "nginx": (ACCESS, "%d/%b/%Y:%H:%M:%S +0000"),
    "nginx-error": (ERROR, "%Y/%m/%d %H:%M:%S"),
    "redis": (REDIS, "%d %b %Y %H:%M:%S.%f "),
}
Entry = tuple[datetime, str]


def masked(text: str) -> str:
    """The template of a line."""
    request = STATUS.fullmatch(text)
    if request:  # the status is no mere number
        path = masked_words(re.sub(r"\?.*? ", "?Q ", request["request"]))
        return f"{path} s{request['status']} {masked_words(request['referer'].split('?')[0])}"
    closed = CLOSED.match(text)
    return "Client closed " + " ".join(closed.groups()) if closed else masked_words(text)


def masked_words(text: str) -> str:
    """The text with all that varies masked."""
    for pattern, word in MASKS:
        text = pattern.sub(word, text)
    return text


def entries(path: Path, kind: str) -> Iterator[Entry]:
    """Time and template of each line; a line without a time takes the last one's."""
    pattern, form = FORMATS[kind]
    when = datetime.min.replace(tzinfo=UTC)
    with gzip.open(path, "rt", errors="replace") as lines:
        for line in lines:
            found = pattern.match(line.rstrip("\n"))
            if found and found["t"]:
                when = datetime.strptime(found["t"], form).replace(tzinfo=UTC)
            yield when, masked(found["text"] if found else line.rstrip("\n"))


def incidents(path: Path) -> list[dict[str, str]]:
    """The rows of incidents.csv."""
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def check_log(folder: Path, kind: str, suffix: str) -> list[str]:
    """Report on one log; the answer lists what is wrong."""
    known = Counter(text for _, text in entries(folder / f"normal{suffix}.log.gz", kind))
    later = list(entries(folder / f"later{suffix}.log.gz", kind))
    least = ERROR_LEAST if suffix else LEAST
    print(f"{kind}: normal {known.total()} lines, {len(known)} templates; later {len(later)} lines")
    wrong = [f"{kind}: fewer than {least} lines"] if known.total() < least else []
    claimed = Counter[str]()
    for row in incidents(folder / "incidents.csv"):
        claimed.update(_report(row, later, known))
        if row["shows"] == "order-number-absence" and claimed[row["kind"]]:
            wrong.append(f"{kind}: {row['kind']} has templates that normal lacks")
    _report_quiet(folder, later, known)
    return wrong


def _report(row: dict[str, str], later: list[Entry], known: Counter[str]) -> Counter[str]:
    begin, end = (datetime.fromisoformat(row[name]) for name in ("start", "end"))
    begin = begin.replace(microsecond=0)
    inside = [text for when, text in later if begin <= when <= end]
    new = Counter(text for text in inside if text not in known)
    print(f"  {row['kind']} ({row['shows']}): {len(inside)} lines, ", end="")
    print(f"{len(new)} new templates, {new.total()} times")
    for text, count in new.most_common(6):
        print(f"      {count:5} {text[:150]}")
    return Counter({row["kind"]: new.total()})


def _report_quiet(folder: Path, later: list[Entry], known: Counter[str]) -> None:
    """Lines outside the incidents that normal lacks: few, and named."""
    second = timedelta(seconds=1)
    spans = [
        (datetime.fromisoformat(row["start"]) - second, datetime.fromisoformat(row["end"]) + second)
        for row in incidents(folder / "incidents.csv")
    ]
    quiet = [text for when, text in later if not any(a <= when <= b for a, b in spans)]
    new = Counter(text for text in quiet if text not in known)
    print(f"  between incidents: {len(quiet)} lines, {new.total()} of templates that normal lacks")
    for text, count in new.most_common(8):
        print(f"      {count:5} {text[:150]}")


def check_claims(folder: Path, kinds: dict[str, str]) -> list[str]:
    """At least three kinds of faults, one of them without a new line."""
    rows = incidents(folder / "incidents.csv")
    shows = {row["shows"] for row in rows}
    enough = len({row["kind"] for row in rows}) >= 3 and len(shows) == 2 and kinds
    return [] if enough else [f"{folder.name}: too few kinds of incidents"]


def check_new(folder: Path, logs: dict[str, str]) -> list[str]:
    """Where new lines are claimed, one of the program's logs must have some."""
    wrong = []
    for row in incidents(folder / "incidents.csv"):
        if row["shows"] == "new-lines" and not any(
            _has_new(folder, kind, suffix, row) for kind, suffix in logs.items()
        ):
            wrong.append(f"{folder.name}: {row['kind']} shows no new line")
    return wrong


def _has_new(folder: Path, kind: str, suffix: str, row: dict[str, str]) -> bool:
    known = {text for _, text in entries(folder / f"normal{suffix}.log.gz", kind)}
    begin, end = (datetime.fromisoformat(row[name]) for name in ("start", "end"))
    later = entries(folder / f"later{suffix}.log.gz", kind)
    return any(begin <= when <= end and text not in known for when, text in later)


def check_size(root: Path) -> list[str]:
    """All files together stay below the limit."""
    size = sum(path.stat().st_size for path in root.glob("*/*.gz"))
    print(f"compressed: {size} bytes")
    return [f"more than {LIMIT} bytes"] if size > LIMIT else []


def main() -> int:
    """Check all recordings below a folder."""
    parser = argparse.ArgumentParser(description="Check the recordings.")
    parser.add_argument("root", type=Path, nargs="?", default=Path(__file__).parent.parent)
    root = parser.parse_args().root
    wrong = check_size(root)
    for name in ("postgresql", "nginx", "redis"):
        logs = {name: ""} | ({"nginx-error": "-error"} if name == "nginx" else {})
        wrong += check_claims(root / name, logs) + check_new(root / name, logs)
        for kind, suffix in logs.items():
            wrong += check_log(root / name, kind, suffix)
    print("\n".join(wrong) or "all is well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
