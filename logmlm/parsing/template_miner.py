"""Templates: what the lines of a log have in common, learned once and matched ever after.

Drain (He et al., "Drain: An Online Log Parsing Approach with Fixed Depth Tree", ICWS 2017)
groups masked messages; `<*>` stands for a word that differs within a group.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drain3.drain import Drain, LogCluster

from logmlm.config.redaction import Redactor
from logmlm.config.regex import overruns
from logmlm.config.training import TemplateConfig
from logmlm.errors import ConfigError, ModelError
from logmlm.parsing.mask_advice import suggest_mask
from logmlm.parsing.masking import LONGEST_KNOWN, MOST_KNOWN, LogMasker, MaskPair, select_masks
from logmlm.parsing.template_state import VERSION, TemplateEntry, check_state, digest_of, read_state
from logmlm.parsing.template_tree import WILDCARD, TemplateTree
from logmlm.records import UNKNOWN_TEMPLATE
from logmlm.system.atomic_files import write_json

_EXAMPLE_LENGTH = 300
_ID_LENGTH = 12
_ENOUGH_LINES = 100
_LINES_PER_TEMPLATE = 5
_SEEN_ONCE = 0.6
_MASK = re.compile("<(?:[A-Z][A-Z0-9_]*|\\*)>")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Template:
    """A template as it stands: `<*>` in `text` is any word, `<NAME>` what a mask replaced.

    `count` is the number of learned lines; `example` is the first message, cut to 300 characters:
    masked, or redacted where the config asks for `examples`. What redaction rules find in a
    message is no part of a template.
    """

    id: str
    text: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class _TemplateSeed:
    """What a template was when it was made; its place in Drain's tree follows from `tokens`."""

    id: str
    tokens: tuple[str, ...]
    example: str


class TemplateMiner:
    """The templates learned so far, in order of creation.

    A line that was learned always matches again, and learning it again changes nothing but
    counts. An id is a hash of the template's first line, so it stays when the template
    changes. Templates are never dropped: when there are `max_templates`, lines that fit none
    are refused.

    Raises:
        ConfigError: the config's masks can't be used.

    """

    def __init__(
        self,
        config: TemplateConfig,
        masks: LogMasker | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        """Begin without templates; `redactor` None applies the built-in rules."""
        extra = [(mask.name, mask.pattern) for mask in config.extra_masks]
        self.config = config
        self.lines = 0
        """Lines given to `learn`, the refused ones among them."""
        self.refused = 0
        """Lines that found no template because there were `max_templates`."""
        self.masking = masks if masks is not None else LogMasker(select_masks(config.masks, extra))
        """What messages go through."""
        self._redactor = redactor if redactor is not None else Redactor()
        self._drain = Drain(config.depth, config.similarity, config.max_children)
        self._tree = TemplateTree()
        self._seeds: list[_TemplateSeed] = []
        self._numbers: dict[str, int] = {}
        self._ids = [UNKNOWN_TEMPLATE]  # by the templates' numbers, which begin with 1
        self._known: dict[str, int] = {}

    def mask(self, message: str) -> str:
        """Return the first line of `message` with what varies in it replaced by `<NAME>`."""
        return self.masking.mask_message(message)

    def learn(self, message: str) -> str:
        """Learn a message and return its template's id, `UNKNOWN_TEMPLATE` if it was refused.

        The template that `match` finds at the end of learning can be another one.
        """
        return self.learn_masked(self.mask(message), message)

    def learn_masked(self, masked: str, example: str) -> str:
        """Learn what `mask` made of the message `example`, as `learn` does."""
        self.lines += 1
        number = self._find(masked)
        if number > 0:
            self._drain.id_to_cluster[number].size += 1
        else:
            number = self._fit(_tokens(masked), example)
        self.refused += number == 0
        return self._ids[number]

    def match(self, message: str) -> str:
        """Return the id of the template that covers a message, `UNKNOWN_TEMPLATE` if none does.

        Changes nothing, and hangs on the templates alone.
        """
        return self.match_masked(self.mask(message))

    def match_masked(self, masked: str, _: object = None) -> str:
        """Return the id for what `mask` made of a message."""
        number = self._known.get(masked)
        return self._ids[self._find(masked) if number is None else number]

    def get(self, template_id: str) -> Template | None:
        """Return the template of an id, None if there is none."""
        return self._template(self._numbers[template_id]) if template_id in self._numbers else None

    def __len__(self) -> int:
        return len(self._seeds)

    def __iter__(self) -> Iterator[Template]:
        return (self._template(number) for number in range(1, len(self) + 1))

    def diagnose(self) -> list[str]:
        """Say in sentences why the lines do not template well, and what would help; often []."""
        symptoms = list(self._symptoms())
        if not symptoms:
            return []
        return [*symptoms, suggest_mask([template.text for template in self])]

    @property
    def overruns(self) -> int:
        """How often a mask or a redaction rule of the user's took too long, and was given up."""
        rules = (rule.pattern for rule in self._redactor.rules)
        return overruns(*self.masking.patterns, *rules)

    @property
    def masks(self) -> tuple[MaskPair, ...]:
        """The masks that every message goes through: name and pattern, in their order."""
        return self.masking.pairs

    @property
    def digest(self) -> str:
        """SHA-256 in hex of all that `dump` holds."""
        return str(self.dump()["digest"])

    def dump(self) -> dict[str, Any]:
        """Return all that was learned, as plain JSON: what `load` makes the same templates of."""
        state: dict[str, Any] = {
            "version": VERSION,
            "config": self.config.model_dump(mode="json"),
            "masks": [{"name": name, "pattern": pattern} for name, pattern in self.masks],
            "lines": self.lines,
            "refused": self.refused,
            "templates": [
                {
                    "id": origin.id,
                    "birth": " ".join(origin.tokens),
                    "text": template.text,
                    "count": template.count,
                    "example": origin.example,
                }
                for origin, template in zip(self._seeds, self, strict=True)
            ],
        }
        return {**state, "digest": digest_of(state)}

    @classmethod
    def load(cls, state: object, where: str = "templates") -> TemplateMiner:
        """Return the templates that `dump` wrote, with the masks they were learned with.

        Raises:
            ModelError: the state is damaged, or of a newer version; the text begins with `where`.

        """
        checked = check_state(state, where)
        try:
            masks = LogMasker([(mask.name, mask.pattern) for mask in checked.masks])
        except ConfigError as error:
            raise ModelError(f"{where}: {error}; train the model again") from error
        templates = cls(checked.config, masks)
        templates.lines, templates.refused = checked.lines, checked.refused
        for entry in checked.templates:
            templates._restore(entry, where)
        return templates

    def save(self, path: Path) -> None:
        """Write `dump` to `path`, atomically.

        Raises:
            StorageError: the file can't be written.

        """
        write_json(path, self.dump())

    @classmethod
    def read(cls, path: Path) -> TemplateMiner:
        """Return the templates that `save` wrote.

        Raises:
            ModelError: the file is missing, damaged, or of a newer version.
            StorageError: the file can't be read.

        """
        return cls.load(read_state(path), str(path))

    def _find(self, masked: str) -> int:
        """The number of the template that covers a masked message, or 0; kept until one changes."""
        known = self._known.get(masked)
        if known is not None:
            return known
        number = self._tree.find(_tokens(masked)) or 0
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        if len(masked) <= LONGEST_KNOWN:
            self._known[masked] = number
        return number

    def _fit(self, tokens: list[str], example: str) -> int:
        """Widen the most similar template to cover `tokens`, or make one; its number, 0 if full."""
        self._known.clear()
        tokens = self._without_secrets(tokens, example)
        drain = self._drain
        similar = drain.tree_search(drain.root_node, tokens, drain.sim_th, include_params=False)
        if similar is not None:
            self._tree.remove(similar.log_template_tokens, similar.cluster_id)
        elif len(self) >= self.config.max_templates:
            return 0
        cluster, _ = drain.add_log_message(" ".join(tokens))
        if similar is None:
            self._register(tuple(tokens), self._example(tokens, example))
        self._tree.add(cluster.log_template_tokens, cluster.cluster_id)
        return int(cluster.cluster_id)

    def _without_secrets(self, tokens: list[str], message: str) -> list[str]:
        """Return the words with `<*>` in place of those that hold a part of a secret.

        What masks made of a secret tells nothing of it. A template that is made so covers the line
        all the same, and all lines that have another secret there.
        """
        secrets = self._redactor.secrets(message)
        if not secrets:
            return tokens
        pieces = [piece for secret in secrets for piece in secret.split()]
        return [WILDCARD if _is_part(token, secrets, pieces) else token for token in tokens]

    def _example(self, tokens: list[str], message: str) -> str:
        if not self.config.examples:
            return " ".join(tokens)[:_EXAMPLE_LENGTH]
        return _clean(self._redactor(message).strip()[:_EXAMPLE_LENGTH])

    def _register(self, tokens: tuple[str, ...], example: str) -> _TemplateSeed:
        origin = _TemplateSeed(template_id(tokens, self._numbers), tokens, example)
        self._seeds.append(origin)
        self._ids.append(origin.id)
        self._numbers[origin.id] = len(self._seeds)
        return origin

    def _restore(self, entry: TemplateEntry, where: str) -> None:
        first_tokens, text = tuple(entry.birth.split()), tuple(entry.text.split())
        origin = self._register(first_tokens, entry.example)
        if origin.id != entry.id or not _covers(text, first_tokens):
            raise ModelError(f"{where}: template '{entry.id}' is damaged; train the model again")
        number = self._numbers[origin.id]
        cluster = LogCluster(first_tokens, number)
        self._drain.id_to_cluster[number] = cluster
        self._drain.clusters_counter = number
        self._drain.add_seq_to_prefix_tree(self._drain.root_node, cluster)
        cluster.log_template_tokens, cluster.size = text, entry.count
        self._tree.add(text, number)
        self._known.clear()

    def _template(self, number: int) -> Template:
        origin, cluster = self._seeds[number - 1], self._drain.id_to_cluster[number]
        text = " ".join(cluster.log_template_tokens)
        return Template(origin.id, text, cluster.size, origin.example)

    def _symptoms(self) -> Iterator[str]:
        if self.refused:
            yield (
                f"{self.refused} of {self.lines} lines were refused, because there are already "
                f"templates.max_templates ({self.config.max_templates}) templates."
            )
        if self.lines < _ENOUGH_LINES:
            return
        once = sum(template.count == 1 for template in self)
        if len(self) * _LINES_PER_TEMPLATE > self.lines:
            yield f"{len(self)} templates are too many for {self.lines} lines."
        elif once > _SEEN_ONCE * len(self):
            # Good, "The Population Frequencies of Species", Biometrika 1953: what was seen once
            # estimates what was not seen yet.
            yield (
                f"{once} of {len(self)} templates were seen only once in {self.lines} lines, so "
                f"about {once / self.lines:.1%} of new lines will match none; learn more lines."
            )


def template_id(tokens: Sequence[str], taken: Collection[str]) -> str:
    """Return the first 12 hex characters of the tokens' SHA-256, more where those are taken."""
    digest = hashlib.sha256(" ".join(tokens).encode()).hexdigest()
    ends = range(_ID_LENGTH, len(digest) + 1)
    return next(digest[:end] for end in ends if digest[:end] not in taken)


def _is_part(token: str, secrets: Sequence[str], pieces: Sequence[str]) -> bool:
    left = _MASK.sub(" ", token)
    return any(piece in left for piece in pieces) or any(
        word in secret for word in _WORD.findall(left) for secret in secrets
    )


def _tokens(masked: str) -> list[str]:
    return _clean(masked).split()


def _clean(text: str) -> str:
    """`text` without lone surrogates, which UTF-8 can't hold: each becomes a question mark."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _covers(text: Sequence[str], first_tokens: Sequence[str]) -> bool:
    pairs = zip(text, first_tokens, strict=False)
    return len(text) == len(first_tokens) and all(word in (WILDCARD, born) for word, born in pairs)
