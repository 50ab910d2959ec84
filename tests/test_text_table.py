import pytest

from difflr.text_table import text_table

pytestmark = pytest.mark.same_everywhere


def test_columns_are_as_wide_as_what_is_in_them():
    assert text_table(["who", "rate"], [["a", "0.001"], ["body", "1"]], left={0}).splitlines() == [
        "who    rate",
        "-----------",
        "a     0.001",
        "body      1",
    ]
    assert text_table(["a"], [], left=()) == "a\n-"
    assert text_table(["a"], [["b"]], left={0}, footer="all.") == "a\n-\nb\n-\nall."


def test_lines_of_another_length_are_an_error():
    with pytest.raises(ValueError, match="zip"):
        text_table(["a", "b"], [["c"]], left={0})


def test_a_narrow_table_breaks_between_words_and_leaves_columns_out():
    header, lines = ["names", "number", "why"], [["block_1_expand, block_1_project", "12", "rule 1: 'block_1'"]]
    assert text_table(
        header, lines, left={0, 2}, footer="one two three", width=34, optional=["number"]
    ).splitlines() == [
        "names            number  why",
        "----------------------------------",
        "block_1_expand,      12  rule 1:",
        "block_1_project          'block_1'",
        "----------------------------------",
        "one two three",
    ]
    narrower = text_table(header, lines, left={0, 2}, width=30, optional=["number"])
    assert narrower.splitlines()[0].split() == ["names", "why"]
    assert narrower.splitlines()[-2:] == ["Left out at this width:", "number."]
