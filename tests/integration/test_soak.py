"""`make soak` runs the trials of the tests, and says in a table where one falls short."""

import pytest
import soak

DONE, ASKED = "what is done", "what is asked"


def falls_short(_directory, _scale):
    raise AssertionError("3 lines lost\nand more")


def ends(_directory, _scale):
    raise SystemExit("did not start")


MADE_UP = {
    "good": soak.Row(DONE, ASKED, lambda _, scale: f"{soak.part(1000, scale, 20)} | 0 lost"),
    "bad": soak.Row(DONE, ASKED, falls_short),
    "ends": soak.Row(DONE, ASKED, ends),
    "away": soak.Row(DONE, ASKED, falls_short, lambda: "there is no java"),
}


@pytest.fixture
def run(tmp_path, capsys):
    def run(*arguments):
        output = tmp_path / "results.md"
        status = soak.main([*arguments, "--output", str(output)], MADE_UP)
        table = output.read_text().partition("\n\n")[2]
        assert table in capsys.readouterr().out
        return status, [line.split(" | ") for line in table.splitlines()[2:]]

    return run


def test_what_is_measured_stands_beside_what_is_asked(run):
    status, ((name, done, asked, measured, _, verdict),) = run("good", "--short")
    assert (status, name, done, asked) == (0, "| good", DONE, ASKED)
    assert (measured, verdict) == ("50 / 0 lost", "ok |")
    assert run("good", "--scale", "0.001")[1][0][3] == "20 / 0 lost"


def test_a_row_that_falls_short_makes_it_fail_and_the_others_run(run):
    status, rows = run("bad", "ends", "good")
    assert status == 1
    assert [row[3] for row in rows] == [
        "AssertionError: 3 lines lost",
        "SystemExit: did not start",
        "1000 / 0 lost",
    ]
    assert [row[5] for row in rows] == ["short |", "short |", "ok |"]


def test_a_missing_program_is_said_and_short_unless_it_is_allowed(run):
    status, ((*_, measured, _, verdict),) = run("away")
    assert (status, measured, verdict) == (1, "skipped: there is no java", "short |")
    status, ((*_, measured, _, verdict),) = run("away", "--allow-missing")
    assert (status, measured, verdict) == (0, "skipped: there is no java", "skipped |")


@pytest.mark.parametrize("wrong", [["none"], ["--scale", "0"], ["--scale", "1.5"]])
def test_what_can_not_be_run_is_told_before_anything_is_run(run, wrong, capsys):
    with pytest.raises(SystemExit):
        run(*wrong)
    assert "there is no row none; rows are good" in (said := capsys.readouterr().err) or (
        "the scale is over 0" in said
    )


def test_every_row_can_be_run_or_says_what_it_lacks(tmp_path):
    """Those that start a broker or take their time are run by their own tests."""
    assert {name for name, row in soak.ROWS.items() if row.lacking() == ""} >= {
        *("rotation", "receiver", "poison", "reload", "memory", "latency", "idle")
    }
    output = str(tmp_path / "results.md")
    assert soak.main(["poison", "--scale", "0.0001", "--output", output]) == 0


def test_latency_and_idling_are_printed(tmp_path, trained, capsys):
    """The figures are asked for by `make soak` alone: a busy machine can't keep them."""
    from trials import speed

    told = {"seconds": 1.0, "idle_seconds": 1.0, "quiet_seconds": 1.5}
    found = speed.measured(tmp_path, trained.model, **told)
    with capsys.disabled():
        print(
            f"\nlatency p99 {found['latency_p99_s']:.3f} s, "
            f"idle {found['idle_share_of_a_core']:.2%} of a core"
        )
    assert found["latency_p99_s"] < 10
    assert found["idle_share_of_a_core"] < 0.5
    assert found["alerts"] > 0


def test_keys_that_never_come_twice_take_bounded_memory():
    from trials import memory

    assert "20,000 distinct keys" in memory.distinct_keys(keys=20_000)
