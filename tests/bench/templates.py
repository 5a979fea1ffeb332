"""Print grouping accuracy on loghub's samples: logmlm's defaults beside plain Drain3.

Grouping accuracy is that of Zhu et al., "Tools and Benchmarks for Automated Log Parsing"
(ICSE-SEIP 2019): a line is right when its group holds exactly the lines that the published
EventId's group holds. Lines are grouped as the detector does it: all are learned, then each
is matched. Drain3 has the settings published with that paper, and groups while it learns.

    python tests/bench/templates.py --data DIR [--json]      about 10 s; DIR as loghub2k
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drain3.drain import Drain

from logmlm.config.training import TemplateConfig
from logmlm.parsing.template_miner import TemplateMiner

IP = r"(\d+\.){3}\d+"
HOST = r"([\w-]+\.){2,}[\w-]+"
PUBLISHED: dict[str, tuple[tuple[str, ...], float, int]] = {
    "Apache": ((IP,), 0.5, 4),
    "BGL": ((r"core\.\d+",), 0.5, 4),
    "Hadoop": ((IP,), 0.5, 4),
    "HDFS": ((r"blk_-?\d+", rf"{IP}(:\d+)?"), 0.5, 4),
    "Linux": ((IP, r"\d{2}:\d{2}:\d{2}"), 0.39, 6),
    "OpenSSH": ((IP, HOST), 0.6, 5),
    "Spark": ((IP, r"\b[KGTM]?B\b", HOST), 0.5, 4),
    "Thunderbird": ((IP,), 0.5, 4),
    "Zookeeper": ((rf"(/|){IP}(:\d+)?",), 0.5, 4),
}
"""Masks, similarity and depth of logpai/logparser's benchmark of Drain, by sample."""


def grouping_accuracy(found: Sequence[object], published: Sequence[object]) -> float:
    """Return the share of lines whose group is exactly the published one."""
    ours, theirs = _groups(found), _groups(published)
    right = (len(lines) for lines in ours.values() if theirs[published[next(iter(lines))]] == lines)
    return sum(right) / len(published)


def _groups(labels: Sequence[object]) -> dict[object, set[int]]:
    groups: dict[object, set[int]] = defaultdict(set)
    for line, label in enumerate(labels):
        groups[label].add(line)
    return groups


def group_with_drain3(name: str, messages: Sequence[str]) -> list[int]:
    """Return each message's group as Drain3 learns it, with the published settings."""
    patterns, similarity, depth = PUBLISHED[name]
    drain = Drain(depth=depth, sim_th=similarity)
    groups = []
    for message in messages:
        masked = message
        for pattern in patterns:
            masked = re.sub(pattern, "<*>", masked)
        groups.append(drain.add_log_message(masked)[0].cluster_id)
    return groups


def group_with_logmlm(messages: Sequence[str]) -> tuple[list[str], TemplateMiner]:
    """Return each message's template after all were learned, with the default settings."""
    templates = TemplateMiner(TemplateConfig())
    for message in messages:
        templates.learn(message)
    return [templates.match(message) for message in messages], templates


def measure(data: Path, name: str) -> dict[str, Any]:
    with gzip.open(data / f"{name}_2k_structured.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    messages, published = [row["Content"] for row in rows], [row["EventId"] for row in rows]
    groups, templates = group_with_logmlm(messages)
    return {
        "sample": name,
        "lines": len(rows),
        "published_templates": len(set(published)),
        "templates": len(templates),
        "logmlm": round(grouping_accuracy(groups, published), 4),
        "drain3": round(grouping_accuracy(group_with_drain3(name, messages), published), 4),
        "problems": templates.diagnose(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="folder of the samples")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    results = [measure(options.data, name) for name in PUBLISHED]
    if options.json:
        print(json.dumps(results, indent=1))
    else:
        print(f"{'sample':12} {'published':>9} {'templates':>9} {'logmlm':>7} {'drain3':>7}")
        for row in results:
            print(
                f"{row['sample']:12} {row['published_templates']:9} {row['templates']:9} "
                f"{row['logmlm']:7.4f} {row['drain3']:7.4f}"
            )
    return int(any(row["logmlm"] < row["drain3"] for row in results))


if __name__ == "__main__":
    sys.exit(main())
