"""The corpus: windows as token ids, in arrays that may be memory-mapped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from logmlm.mlm.masking import TokenTensor

PIECE_WINDOWS = 4_096
MIN_WINDOWS = 20
"""Training refuses fewer windows than this."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """W windows in order of time: window i is `tokens[starts[i] : starts[i] + lengths[i]]`.

    `starts` and `lengths` are [W]. `tokens` may be memory-mapped; `[END]` is the last token of a
    complete window.
    """

    tokens: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]

    @classmethod
    def of(cls, windows: Iterable[Sequence[int]]) -> Corpus:
        """Build a corpus in memory."""
        kept = [np.asarray(window, dtype=np.int32) for window in windows]
        lengths = np.array([len(window) for window in kept], dtype=np.int64)
        tokens = np.concatenate([np.empty(0, dtype=np.int32), *kept])
        return cls(tokens, np.cumsum(lengths) - lengths, lengths)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a memory-mapped corpus as the name of its file, without the tokens."""
        if isinstance(self.tokens, np.memmap) and self.tokens.filename is not None:
            return _mapped, (str(self.tokens.filename), self.starts, self.lengths)
        return Corpus, (self.tokens, self.starts, self.lengths)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.starts)

    def __getitem__(self, index: int) -> TokenTensor:
        """Token ids of one window."""
        return self._stored(index).astype(np.int64)

    def take(self, indices: npt.NDArray[np.int64]) -> Corpus:
        """Return the windows at `indices`, in that order, as a view on the same tokens."""
        return Corpus(self.tokens, self.starts[indices], self.lengths[indices])

    def content(self, index: int) -> int:
        """Return a 64-bit hash of one window's tokens; equal windows have equal hashes."""
        digest = hashlib.blake2b(self._stored(index).tobytes(), digest_size=8).digest()
        return int.from_bytes(digest, "little")

    def majority_share(self) -> float:
        """Return the share of the most frequent token among all tokens; 0 for an empty corpus."""
        counts = np.zeros(1, dtype=np.int64)
        for first in range(0, len(self), PIECE_WINDOWS):
            windows = range(first, min(first + PIECE_WINDOWS, len(self)))
            found = np.bincount(np.concatenate([self._stored(i) for i in windows]))
            counts = np.pad(counts, (0, max(0, len(found) - len(counts))))
            counts[: len(found)] += found
        return float(counts.max() / max(1, self.lengths.sum()))

    def digest(self) -> str:
        """Return the SHA-256 of all windows in order, as hex."""
        state = hashlib.sha256(np.ascontiguousarray(self.lengths).tobytes())
        for index in range(len(self)):
            state.update(self._stored(index).tobytes())
        return state.hexdigest()

    def _stored(self, index: int) -> npt.NDArray[np.int32]:
        start = self.starts[index]
        return self.tokens[start : start + self.lengths[index]]


@dataclass(frozen=True, slots=True)
class EpochSample:
    """Weighted sample of windows for one epoch, in which repeats are drawn less often.

    Windows with the same content, c of them, are drawn ceil(sqrt(c)) times per epoch, each time
    with other masks and with weight c / ceil(sqrt(c)). Every window counts in every epoch, at a
    fraction of the cost on repetitive logs. `windows` and `weights` have one entry per draw.
    """

    windows: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]

    @classmethod
    def of(cls, corpus: Corpus, windows: npt.NDArray[np.int64]) -> EpochSample:
        """Build the sample of an epoch over `windows`; weights sum to the number of windows."""
        contents = np.array([corpus.content(index) for index in windows], dtype=np.uint64)
        _, firsts, counts = np.unique(contents, return_index=True, return_counts=True)
        times = np.ceil(np.sqrt(counts)).astype(np.int64)
        weights = (counts / times).astype(np.float32)
        return cls(np.repeat(windows[firsts], times), np.repeat(weights, times))

    def __len__(self) -> int:
        """Number of draws in an epoch."""
        return len(self.windows)


def _mapped(path: str, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Corpus:
    return Corpus(np.memmap(path, dtype=np.int32, mode="r"), starts, lengths)
