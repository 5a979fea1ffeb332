"""The parser of lines that a model was trained with."""

from __future__ import annotations

from logmlm.detection.manifest import Manifest
from logmlm.parsing.event_parser import ByMask, EventReader
from logmlm.parsing.formats import get_format
from logmlm.parsing.template_miner import Templates


def matching(manifest: Manifest, templates: Templates, *, finished: bool = False) -> EventReader:
    """A reader for the line format that a model was trained on; it never learns."""
    return EventReader(
        *(get_format(manifest.format), manifest.window.key, templates.match),
        manifest.format.multiline,
        finished=finished,
        by_mask=ByMask(templates.match_masked, templates.masking),
    )
