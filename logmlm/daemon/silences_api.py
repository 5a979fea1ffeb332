"""Silences over HTTP, in the words of Alertmanager's API v2, so that its tools can be used.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml

GET    /api/v2/silences        all that are kept; `filter` and other parameters are not heeded
POST   /api/v2/silences        a new one, or with `id` another in place of that one
GET    /api/v2/silence/ID      one
DELETE /api/v2/silence/ID      ends it now
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from logmlm.alerting.label_matchers import LabelMatcher
from logmlm.alerting.silences import Silence, add_silence, expire_silence, list_silences
from logmlm.alerting.store.database import StateDatabase
from logmlm.errors import StorageError, UsageError
from logmlm.system.text import format_rfc3339

ALL = "/api/v2/silences"
ONE = "/api/v2/silence/"
LONGEST_TEXT = 1000
_OPERATORS = {(False, True): "=", (False, False): "!=", (True, True): "=~", (True, False): "!~"}
Reply = tuple[HTTPStatus, Any]
"""Status, and what is sent as JSON."""


class _Request(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Matcher(_Request):
    name: str = Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=LONGEST_TEXT)
    value: str = Field(max_length=LONGEST_TEXT)
    is_regex: bool = Field(alias="isRegex")
    is_equal: bool = Field(True, alias="isEqual")

    def matcher(self) -> LabelMatcher:
        made = LabelMatcher(self.name, _OPERATORS[self.is_regex, self.is_equal], self.value)
        if self.is_regex:
            made.check()
        return made


class _Silence(_Request):
    id: str = ""
    matchers: list[_Matcher] = Field(max_length=100)
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime = Field(alias="endsAt")
    created_by: str = Field("", alias="createdBy", max_length=LONGEST_TEXT)
    comment: str = Field("", max_length=LONGEST_TEXT)


class SilencesApi:
    """Answers requests about the silences in the state at `path`; any thread may ask."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock

    def answer(self, method: str, target: str, body: bytes) -> Reply:
        """Do what is asked; bad requests get 400 and a sentence, what is not there 404."""
        path = urlsplit(target).path
        silence_id = path.removeprefix(ONE) if path.startswith(ONE) else ""
        try:
            with closing(StateDatabase(self._path)) as state:
                if path == ALL and method == "GET":
                    return HTTPStatus.OK, [self._shown(one) for one in list_silences(state)]
                if path == ALL and method == "POST":
                    return self._add(state, body)
                if silence_id and method in ("GET", "DELETE"):
                    return self._one(state, method, silence_id)
        except UsageError as error:
            return HTTPStatus.BAD_REQUEST, str(error)
        except StorageError as error:
            return HTTPStatus.INTERNAL_SERVER_ERROR, str(error)
        known = path == ALL or bool(silence_id)
        return (HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND), "no such request"

    def _add(self, state: StateDatabase, body: bytes) -> Reply:
        try:
            asked = _Silence.model_validate_json(body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the body"
            raise UsageError(f"{where}: {first['msg']}") from error
        now = self._clock()
        matchers = [each.matcher() for each in asked.matchers]
        words = {"created_by": asked.created_by, "comment": asked.comment}
        span = asked.starts_at.timestamp(), asked.ends_at.timestamp()
        if asked.id and not any(one.id == asked.id for one in list_silences(state)):
            return HTTPStatus.NOT_FOUND, f"there is no silence {asked.id}"
        made = add_silence(state, matchers, now, span, **words)
        if any(one.id == asked.id and one.ends_at > now for one in list_silences(state)):
            expire_silence(state, asked.id, now)
        return HTTPStatus.OK, {"silenceID": made.id}

    def _one(self, state: StateDatabase, method: str, silence_id: str) -> Reply:
        found = [one for one in list_silences(state) if one.id == silence_id]
        if not found:
            return HTTPStatus.NOT_FOUND, f"there is no silence {silence_id}"
        if method == "GET":
            return HTTPStatus.OK, self._shown(found[0])
        expire_silence(state, silence_id, self._clock())
        return HTTPStatus.OK, {}

    def _shown(self, silence: Silence) -> dict[str, Any]:
        now = self._clock()
        status = "pending" if silence.starts_at > now else "active"
        return {
            "id": silence.id,
            "status": {"state": "expired" if silence.ends_at <= now else status},
            "updatedAt": format_rfc3339(silence.starts_at),
            "startsAt": format_rfc3339(silence.starts_at),
            "endsAt": format_rfc3339(silence.ends_at),
            "createdBy": silence.created_by,
            "comment": silence.comment,
            "matchers": [
                {
                    "name": each.name,
                    "value": each.value,
                    "isRegex": "~" in each.operator,
                    "isEqual": not each.operator.startswith("!"),
                }
                for each in silence.matchers
            ],
        }
