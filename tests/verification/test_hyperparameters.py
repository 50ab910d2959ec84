"""Plans with hyperparameters, norms and lowest rates are judged by what they promise."""

import keras
import pytest

import difflr
from difflr import Rule
from difflr.optimizers.group_hyperparameters import GroupHyperparameters
from difflr.verification import judgment
from optimizers.steps import BACKEND, NAMES
from verification.test_verify import DATA, X, Y, compiled

pytestmark = pytest.mark.usefixtures("quick_compilation")
rising = keras.optimizers.schedules.PolynomialDecay
RULES = [
    Rule("*", hyperparameters={"weight_decay": rising(0.5, 10, 0.1)}),
    Rule("body", multiplier=0.1, hyperparameters={"clipnorm": 0.02}),
    Rule("mid", hyperparameters={"clipnorm": 0.05, "weight_decay": 0.3}),
    Rule("mid/kernel", multiplier=0.5),
    Rule("head/kernel", multiplier=0.001, min_learning_rate=0.002),
]
OWN = {"SGD": {"momentum": rising(0.3, 20, 0.9)}, "Adam": {"beta_1": rising(0.3, 20, 0.9), "beta_2": 0.9}}


@pytest.mark.parametrize("name", NAMES if BACKEND == "torch" else ["Adam"])
def test_no_false_alarm(name):
    rules = [*RULES, *([Rule("body", hyperparameters=OWN[name])] if name in OWN else [])]
    settings = {
        "global_clipnorm": 0.2,
        "gradient_accumulation_steps": 2,
        **({"momentum": 0.9} if name == "SGD" else {}),
    }
    model, _ = compiled(getattr(difflr.optimizers, name), rules, **settings)
    model.fit(X, Y, epochs=3, batch_size=16, verbose=0)
    verification = difflr.verify(model, DATA)
    assert {row.verdict for row in verification.rows} == {judgment.KEPT}
    assert [row.measured for row in verification.rows] == pytest.approx([0.1, 0.1, 0.5, 1, 0.2, 1], rel=1e-3)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("own", [{"clipnorm": 0.02}, {"weight_decay": 5.0}])
def test_what_has_no_effect_is_found(own, monkeypatch):
    model, plan = compiled(difflr.optimizers.SGD, [Rule("body", hyperparameters=own)])
    for name in ("by_group", "clipped"):
        monkeypatch.setattr(GroupHyperparameters, name, lambda self, grads=None: grads or {})
    monkeypatch.setattr(difflr.optimizers.DifferentialOptimizer, "_vectorized_update", lambda self: None)
    with pytest.raises(difflr.PlanNotKept):
        difflr.verify(model, DATA, plan=plan)
