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
