"""Masking for training: the view of each window, and the tokens to predict.

Masking is BERT's 80/10/10 (Devlin et al., NAACL 2019), at a rate drawn for each batch. Half of the
windows are shown as a bag: they begin with `[BAG]`, which removes their order
(`forward.position_ids`), so that one model learns both views.

A bag never shows `[END]`. Its last position is always masked, and the model predicts what is
missing from the other tokens: an event or `[END]`. Without `[END]` as a candidate, a superfluous
event would not be surprising, because some event has to fill the position. The same holds for an
`[END]` that comes too early.

Shapes: N windows, n events in the longest one, L = n + 2 tokens with the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, PAD, SEP, UNK

RATES = (0.10, 0.15, 0.30, 0.50)
"""Masking rates; each batch draws one."""
BAG_SHARE = 0.5
"""Share of windows shown as a bag."""
CUT_SHARE = 0.25
"""Share of complete ordered windows that are truncated."""
END_SHARE = 0.5
"""Share of complete bags that predict `[END]`."""
FEW_SHARE = 0.5
"""Share of the other bags that may lack several events instead of one."""
ANY_SHARE = 0.5
"""Share of these that lack random events instead of the last ones."""
SINGLE_MASK_SHARE = 0.5
"""Share of bags in which only the last position is masked, as in scoring."""

TokenTensor = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TrainingViews:
    """N framed windows, each in one view, before masking.

    `ids` [N, L] is padded; `lengths` [N] include the frame. `asks_last` [N]: the last position
    before `[SEP]` is always masked. `single_mask` [N]: no other position is.
    """

    ids: torch.Tensor
    lengths: torch.Tensor
    asks_last: torch.Tensor
    single_mask: torch.Tensor

    def of(self, rows: torch.Tensor) -> TrainingViews:
        """Return the views of `rows`, in that order."""
        return TrainingViews(
            self.ids[rows], self.lengths[rows], self.asks_last[rows], self.single_mask[rows]
        )


def sample_mask_rates(count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw the masking rate of each of `count` batches; [count]."""
    rates = torch.tensor(RATES, device=generator.device)
    drawn = torch.randint(len(RATES), (count,), generator=generator, device=generator.device)
    return rates[drawn]


def sample_views(
    events: torch.Tensor, lengths: torch.Tensor, generator: torch.Generator
) -> TrainingViews:
    """Draw one view of each window: ordered after `[CLS]`, or, for half of them, a bag.

    `events` is [N, n]; row i is valid up to `lengths[i]`, which is at least 1. Everything is drawn
    on the generator's device, without waiting for it.

    - Ordered: the window as it came. A share of the complete windows is truncated, and the model
      predicts the next event; otherwise the last token would always be `[END]`, and the model would
      not learn when a window is complete.
    - Bag: all events, and the model predicts `[END]`; or a bag that lacks one random event or
      several events (the last or random ones), and the model predicts one of these.
    """
    draw = _Sampler(generator, len(events))
    # All flags below are [N].
    ends = events.gather(1, lengths[:, None] - 1)[:, 0] == END
    bag = draw.happens(BAG_SHARE)
    cut = ~bag & ends & (lengths > 2) & draw.happens(CUT_SHARE)
    whole = bag & ends & ((lengths < 3) | draw.happens(END_SHARE))
    lacking = bag & ~whole
    few = lacking & draw.happens(FEW_SHARE)
    shuffled = lacking & (~few | draw.happens(ANY_SHARE))
    most = lengths - (cut | (lacking & ends)).long()
    shown = torch.where(cut | few, draw.lengths(most), most)
    ids = _add_frame(draw.shuffled(events, torch.where(shuffled, most, 0)), shown, bag)
    return TrainingViews(ids, shown + 2, bag | cut, bag & draw.happens(SINGLE_MASK_SHARE))


@dataclass(frozen=True, slots=True)
class _Sampler:
    """Random draws for `count` windows at once."""

    generator: torch.Generator
    count: int

    def happens(self, share: float) -> torch.Tensor:
        return self._chance(self.count) < share

    def lengths(self, most: torch.Tensor) -> torch.Tensor:
        """Draw the number of events to show [N], from 2 to `most` [N], log-uniformly.

        A uniform draw would show windows of a few events too rarely for the model to learn that
        they continue.
        """
        least = most.clamp(max=2).float()
        drawn = least * ((most + 1) / least) ** self._chance(self.count)
        return torch.minimum(drawn.long(), most)

    def shuffled(self, events: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """Shuffle the leading `first` [N] events of each window; keep the others in place."""
        places = torch.arange(events.shape[1], device=events.device)
        # Sort keys [N, n]: below 1 and random for the events to shuffle, ascending above 1 after.
        keys = torch.where(
            places < first[:, None], self._chance(*events.shape), 1.0 + places[None, :]
        )
        return events.gather(1, keys.argsort(dim=1))

    def _chance(self, *shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=self.generator, device=self.generator.device)


def _add_frame(events: torch.Tensor, shown: torch.Tensor, bag: torch.Tensor) -> torch.Tensor:
    """Frame the leading `shown` [N] events by `[CLS]` or `[BAG]` and `[SEP]`, padded; [N, L]."""
    ids = torch.nn.functional.pad(events, (1, 1), value=PAD)  # [N, n + 2]
    places = torch.arange(ids.shape[1], device=ids.device)
    ids = torch.where(places > shown[:, None], PAD, ids)
    ids[:, 0] = torch.where(bag, BAG, CLS)
    return ids.scatter(1, shown[:, None] + 1, SEP)


def predictable(ids: torch.Tensor) -> torch.Tensor:
    """Return true where a token can be predicted: events, `[UNK]` and `[END]`."""
    return (ids == UNK) | (ids >= END)


def mask_tokens(
    readings: TrainingViews, rates: torch.Tensor, vocabulary_size: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the masked input and the flags of the chosen positions, [N, L] each.

    Each predictable position of window i is chosen with probability `rates[i]`, at least one per
    window. Of the chosen, 80 % become `[MASK]`, 10 % a random word, and 10 % stay (Devlin et al.,
    NAACL 2019). With `asks_last`, the last position is always chosen and becomes `[MASK]`; with
    `single_mask`, no other position is chosen.
    """
    ids = readings.ids
    places = predictable(ids)
    after = torch.arange(1, ids.shape[1] + 1, device=ids.device)
    # The position before `[SEP]`, where `asks_last`.
    last = (after == readings.lengths[:, None] - 1) & readings.asks_last[:, None]
    chances, fates = torch.rand((2, *ids.shape), generator=generator, device=ids.device)
    chosen = ((chances < rates[:, None]) & places & ~readings.single_mask[:, None]) | last
    chosen = _one_at_least(chosen, places, chances)
    words = _random_words(ids.shape, vocabulary_size, generator)
    shown = torch.where(chosen & ((fates < 0.8) | last), MASK, ids)
    return torch.where(chosen & (fates >= 0.9) & ~last, words, shown), chosen


def _one_at_least(
    chosen: torch.Tensor, places: torch.Tensor, chances: torch.Tensor
) -> torch.Tensor:
    """Choose the position with the lowest draw in windows where none was chosen."""
    nearest = torch.where(places, chances, 2.0).argmin(dim=1, keepdim=True)
    none = ~chosen.any(dim=1, keepdim=True) & places.any(dim=1, keepdim=True)
    return chosen.scatter(1, nearest, none | chosen.gather(1, nearest))


def _random_words(
    shape: torch.Size, vocabulary_size: int, generator: torch.Generator
) -> torch.Tensor:
    words = torch.randint(
        END - 1, vocabulary_size, shape, generator=generator, device=generator.device
    )
    return torch.where(words == END - 1, UNK, words)
