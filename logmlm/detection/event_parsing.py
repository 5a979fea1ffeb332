"""The parser of lines that a model was trained with."""

from __future__ import annotations

from logmlm.detection.manifest import Manifest
from logmlm.parsing.event_parser import EventParser, MaskedTemplateLookup
from logmlm.parsing.formats import get_format
from logmlm.parsing.template_miner import TemplateMiner


def event_parser_for(
    manifest: Manifest, templates: TemplateMiner, *, finished: bool = False
) -> EventParser:
    """Build the parser for the line format of a model; it matches templates, never learns them."""
    return EventParser(
        *(get_format(manifest.format), manifest.window.key, templates.match),
        manifest.format.multiline,
        finished=finished,
        by_mask=MaskedTemplateLookup(templates.match_masked, templates.masking),
    )
