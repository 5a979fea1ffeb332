"""The tree that finds the template covering a line."""

from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.parsing.template_tree import WILDCARD, TemplateTree

TOKENS = st.lists(st.sampled_from(["a", "b", WILDCARD]), max_size=4).map(tuple)


def covers(template: tuple[str, ...], line: tuple[str, ...]) -> bool:
    pairs = zip(template, line, strict=False)
    return len(template) == len(line) and all(word in (WILDCARD, at) for word, at in pairs)


def filled(templates: list[tuple[str, ...]]) -> TemplateTree:
    matcher = TemplateTree()
    for number, tokens in enumerate(templates):
        matcher.add(tokens, number)
    return matcher


def test_the_template_with_the_word_comes_before_the_wildcard() -> None:
    matcher = filled([("a", "<*>"), ("a", "b"), ("<*>", "b"), ("<*>", "<*>")])
    assert matcher.find(["a", "b"]) == 1
    assert matcher.find(["a", "c"]) == 0
    assert matcher.find(["c", "b"]) == 2
    assert matcher.find(["c", "c"]) == 3
    assert matcher.find(["c"]) is None


def test_a_word_that_leads_nowhere_gives_way_to_the_wildcard() -> None:
    assert filled([("a", "b", "c"), ("<*>", "b", "d")]).find(["a", "b", "d"]) == 1


def test_of_equal_templates_the_lowest_number_is_found() -> None:
    assert filled([("a",), ("a",)]).find(["a"]) == 0


@settings(deadline=None)
@given(st.lists(TOKENS, max_size=8), st.lists(TOKENS, max_size=8), TOKENS)
def test_it_finds_what_a_search_of_all_templates_finds(kept, removed, line) -> None:
    matcher = filled(kept)
    for number, tokens in enumerate(removed):
        matcher.add(tokens, 100 + number)
    for number, tokens in enumerate(removed):
        matcher.remove(tokens, 100 + number)
    found = matcher.find(line)
    fitting = [
        (tuple(word == WILDCARD for word in template), number)
        for number, template in enumerate(kept)
        if covers(template, line)
    ]
    assert found == (min(fitting)[1] if fitting else None)


def test_removing_leaves_the_branches_that_others_need() -> None:
    matcher = filled([("a", "b"), ("a", "b", "c"), ("a", "d")])
    matcher.remove(("a", "b"), 0)
    assert matcher.find(["a", "b"]) is None
    assert matcher.find(["a", "d"]) == 2
    assert matcher.find(["a", "b", "c"]) == 1


def test_removing_leaves_no_branch_that_nobody_needs() -> None:
    matcher = filled([("a", "b", "c"), ("a", "d", "c")])
    matcher.remove(("a", "d", "c"), 1)
    assert vars(matcher) == vars(filled([("a", "b", "c")]))
