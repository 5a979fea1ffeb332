from __future__ import annotations

import pytest

from logmlm.sources.rotation import rotation_successors


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["app.log"], []),
        (["a.log", "b.log"], []),
        (["app.log", "app.log.1"], [("app.log.1", "app.log")]),
        (
            ["/x/app.log.2.gz", "/x/app.log.1", "/x/app.log"],
            [("/x/app.log.2.gz", "/x/app.log.1"), ("/x/app.log.1", "/x/app.log")],
        ),
        (["app.log.10", "app.log.9", "app.log.3"], [("app.log.10", "app.log.9")]),
        (["x/app.log.1", "y/app.log"], []),
        (["app.log.1", "other.log"], []),
        (
            ["app.log-20260502.zst", "app.log", "app.log-20260501.xz"],
            [
                ("app.log-20260501.xz", "app.log-20260502.zst"),
                ("app.log-20260502.zst", "app.log"),
            ],
        ),
        (
            ["app-2026-05-01.log", "app-2026-05-02.log", "app.log"],
            [("app-2026-05-01.log", "app-2026-05-02.log"), ("app-2026-05-02.log", "app.log")],
        ),
        (["web-01.log", "web-02.log"], []),
    ],
)
def test_names_tell_which_file_goes_on_where_another_one_ends(
    paths: list[str], expected: list[tuple[str, str]]
) -> None:
    assert rotation_successors(paths) == expected
    assert rotation_successors(paths[::-1]) == expected
