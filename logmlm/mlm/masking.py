"""Which tokens training hides, and which reading of a window it shows.

Masking is BERT's 80/10/10 (Devlin et al., NAACL 2019) at a rate drawn anew for each batch;
half of the windows begin with `[BAG]`, which hides their order (`model.position_ids`), so that
one model learns both readings. A bag never shows `[END]`: its last place is always hidden, and
asks what the others lack, an event or the end. So an event that a window has beside all that
it needs is as surprising as it is rare, though it is no surprise that *some* event fills a
place; and so is an end that comes too early.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, PAD, SEP, UNK

RATES = (0.10, 0.15, 0.30, 0.50)
BAG_SHARE = 0.5
CUT_SHARE = 0.25
"""Of the complete windows that are read in order, how many training cuts short."""
END_SHARE = 0.5
"""Of the complete bags, how many ask for the end."""
FEW_SHARE = 0.5
"""Of the other bags, how many lack a few events instead of one."""
ANY_SHARE = 0.5
"""Of these, how many lack any events instead of the last ones."""
SINGLE_MASK_SHARE = 0.5
"""Of the bags, how many hide nothing but the last place, as scoring does."""

TokenTensor = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TrainingViews:
    """N framed windows as training shows them.

    `ids` [N, L] is padded, and `lengths` [N] count the frame. `asks_last` [N] says that the last
    place before `[SEP]` is always hidden, `single_mask` [N] that nothing else is.
    """

    ids: torch.Tensor
    lengths: torch.Tensor
    asks_last: torch.Tensor
    single_mask: torch.Tensor

    def of(self, rows: torch.Tensor) -> TrainingViews:
        """Some of them, in the order of `rows`."""
        return TrainingViews(
            self.ids[rows], self.lengths[rows], self.asks_last[rows], self.single_mask[rows]
        )


def sample_mask_rates(count: int, generator: torch.Generator) -> torch.Tensor:
    """The share of tokens to hide in each of so many batches, [count]."""
    rates = torch.tensor(RATES, device=generator.device)
    drawn = torch.randint(len(RATES), (count,), generator=generator, device=generator.device)
    return rates[drawn]


def sample_views(
    events: torch.Tensor, lengths: torch.Tensor, generator: torch.Generator
) -> TrainingViews:
    """One reading of each window: in order after `[CLS]`, or (half of the time) as a bag.

    `events` is [N, n], of which row i counts up to `lengths[i]` (1 at least). All is drawn at
    once, on the generator's device, and nothing waits for it.

    In order, a window stands as it came, but a share of the complete ones is cut short, and asks
    what comes next: only so does the model learn when a window is complete, else the last place
    would be `[END]` each time, and never surprising. A bag has all events and asks for the end,
    or lacks one (any), or a few (the last ones, or any), and asks for one of these.
    """
    draw = _Sampler(generator, len(events))
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
    """Chances for so many windows at once."""

    generator: torch.Generator
    count: int

    def happens(self, share: float) -> torch.Tensor:
        return self._chance(self.count) < share

    def lengths(self, most: torch.Tensor) -> torch.Tensor:
        """How many events to show, 2 to `most`, evenly on a logarithmic scale.

        Were all lengths drawn alike, a window that stops after a few events would be asked for
        so seldom that the model could not be sure that it goes on.
        """
        least = most.clamp(max=2).float()
        drawn = least * ((most + 1) / least) ** self._chance(self.count)
        return torch.minimum(drawn.long(), most)

    def shuffled(self, events: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """The first so many events of each window in random order, the others where they were."""
        places = torch.arange(events.shape[1], device=events.device)
        keys = torch.where(
            places < first[:, None], self._chance(*events.shape), 1.0 + places[None, :]
        )
        return events.gather(1, keys.argsort(dim=1))

    def _chance(self, *shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=self.generator, device=self.generator.device)


def _add_frame(events: torch.Tensor, shown: torch.Tensor, bag: torch.Tensor) -> torch.Tensor:
    """The first so many events of each window, between its first token and `[SEP]`, padded."""
    ids = torch.nn.functional.pad(events, (1, 1), value=PAD)
    places = torch.arange(ids.shape[1], device=ids.device)
    ids = torch.where(places > shown[:, None], PAD, ids)
    ids[:, 0] = torch.where(bag, BAG, CLS)
    return ids.scatter(1, shown[:, None] + 1, SEP)


def predictable(ids: torch.Tensor) -> torch.Tensor:
    """Which places hold words that are predicted: events, `[UNK]` and `[END]`."""
    return (ids == UNK) | (ids >= END)


def mask_tokens(
    readings: TrainingViews, rates: torch.Tensor, vocabulary_size: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """What is shown of framed, padded windows, and which places were chosen; both [N, L].

    Each predictable place of window i is chosen with probability `rates[i]`, and at least one in
    each window. Of the chosen, 80 % become `[MASK]`, 10 % a random word, 10 % stay. Where
    `asks_last` says so the last place always becomes `[MASK]`, and where `single_mask` does, no
    other is chosen.
    """
    ids = readings.ids
    places = predictable(ids)
    after = torch.arange(1, ids.shape[1] + 1, device=ids.device)
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
    """Where nothing was chosen, the place that came nearest to it."""
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
