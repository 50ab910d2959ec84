"""What prints as a table shows as one in a notebook: the same cells, and no name becomes markup."""

import html.parser

import keras
import numpy as np
import pytest

import difflr
from difflr.text_table import html_table

pytestmark = pytest.mark.same_everywhere

EVIL = "<img src=x onerror=alert(1)>&'\""


class Cells(html.parser.HTMLParser):
    """The tags of a page, and the text in its cells and below its table."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.cells, self.below = set(), [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if "p" in self.tags:
            self.below += data
        else:
            self.cells[-1] += data


def compiled():
    body = keras.layers.Dense(4, name="body <b>&")
    model = keras.Sequential([keras.Input((3,)), body, keras.layers.Dense(2, name="head")])
    model.compile(difflr.optimizers.SGD(0.1, multipliers=difflr.Plan(model, [(body, 0.5)])), loss="mse")
    return model


def plan():
    return difflr.plan_of(compiled())


def phases():
    return difflr.Phases([difflr.Phase("body <b>&", epochs=1), difflr.Phase("*")])


def verification():
    return difflr.verify(compiled(), (np.ones((4, 3)), np.ones((4, 2))))


def curve():
    return difflr.LearningRateCurve(rates=[1e-4, 1e-3, 1e-2, 1e-1], losses=[3.0, 2.0, 1.0, 9.0], num_steps=4)


def classes():
    return difflr.evaluation([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], (EVIL, "dog"))


def settings():
    return difflr.fine_tune_settings(compiled(), epochs=2, steps_per_epoch=3)


def table():
    return plan().table(learning_rate=0.1, width=30)


def amounts():
    return difflr.evaluation([[1.0], [2.0]], [[1.1], [1.9]])


def choice():
    plan = difflr.plan_of(compiled())
    trials = [
        difflr.choosing.Tried("rates 1 : 3", 0.1, 0.5, 0.9, 40, 0.0),
        difflr.choosing.Tried(EVIL, 0.3, 0.4, 1.0, 40, 2.5),
    ]
    cost = difflr.choosing.Cost(40, 6, 100, 1.5)
    return difflr.Choice(0.1, plan, True, "the defaults of `fine_tune` are kept", trials, cost, is_measured=False)


@pytest.mark.parametrize("make", [plan, phases, verification, curve, classes, amounts, choice, settings])
def test_the_notebook_shows_what_is_printed(make):
    thing = make()
    text, page = str(thing), Cells(thing._repr_html_())
    assert page.tags <= {"table", "thead", "tbody", "tr", "th", "td", "p", "br", "code"}
    assert len(page.cells) > 4
    squeezed = "".join(text.split()).replace("`", "")
    for cell in page.cells:
        assert "".join(cell.split()) in squeezed, cell
    assert "`" not in page.below
    assert "".join(page.below.split()) in squeezed
    if make in (plan, phases):
        assert any("body <b>&" in cell for cell in page.cells)


@pytest.mark.filterwarnings("ignore:.* have no effect on the model")
def test_a_translation_shows_its_settings_as_a_table_and_the_rest_below_it():
    translation = difflr.interop.from_lr_multiplier({"body <b>&": 0.1, "no such layer": 2.0}, compiled())
    page = Cells(translation._repr_html_())
    assert page.cells[:2] == ["setting", "layers"]
    assert page.cells[2:] == ["body <b>&", "body <b>&"]
    assert "Decides nothing: no such layer" in page.below
    assert "1 setting took effect, 1 did not" in page.below
    assert repr(translation) == "<difflr.interop.Translation from keras-lr-multiplier: 1 matched, 1 unmatched>"


def test_a_printed_table_has_all_its_columns_in_a_notebook():
    assert "Left out" in table()
    cells = Cells(table()._repr_html_()).cells
    assert {"effective rate", "decided by", "body <b>&"} <= set(cells)


def test_code_below_a_table_is_marked_as_such():
    html = html_table(["a"], [["`b`"]], {0}, "look at `plot()` & <more>")
    assert html.endswith("<p>look at <code>plot()</code> &amp; &lt;more&gt;</p>")
    assert "look at plot()" in Cells(curve()._repr_html_()).below
    assert repr(choice()) == "<difflr.Choice: rate 0.1, 2 groups, 0 variables frozen, 2 candidates tried>"


def test_a_name_is_never_markup():
    assert EVIL in Cells(classes()._repr_html_()).cells
