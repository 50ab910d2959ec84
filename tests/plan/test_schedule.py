import keras
import pytest

import difflr
from difflr.plan.schedule import ScheduleProduct

schedules = keras.optimizers.schedules
PARTS = [schedules.CosineDecay(1.0, 10), schedules.ExponentialDecay(2.0, 10, 0.5)]


@pytest.mark.parametrize("step", [0, 3, 10, 20])
def test_it_is_the_product_at_each_step(step):
    expected = float(PARTS[0](step)) * float(PARTS[1](step))
    assert float(ScheduleProduct(PARTS)(step)) == pytest.approx(expected)


def test_config_both_ways():
    product = ScheduleProduct([*PARTS, ScheduleProduct(PARTS)])
    again = ScheduleProduct.from_config(product.get_config())
    assert again.get_config() == product.get_config()
    assert float(again(5)) == float(product(5))


def test_it_takes_nothing_else_from_a_config():
    layer = keras.saving.serialize_keras_object(keras.layers.Dense(1))
    with pytest.raises(ValueError, match="A plan's schedule must be a LearningRateSchedule"):
        ScheduleProduct.from_config({"schedules": [layer]})


def test_plans_with_one_schedule_keep_it_as_it_is():
    layer = keras.layers.Dense(1)
    layer.build((None, 1))
    scheduled = difflr.Plan(layer, {"kernel": PARTS[0]})
    assert (scheduled * difflr.Plan(layer)).rows[0].schedule is PARTS[0]
    assert (difflr.Plan(layer) * scheduled * 2).rows[0].schedule is PARTS[0]
    assert isinstance((scheduled * scheduled).rows[0].schedule, ScheduleProduct)


def test_products_are_equal_in_whatever_order_they_are_made():
    layer = keras.layers.Dense(1)
    layer.build((None, 1))
    first, second = (difflr.Plan(layer, {"kernel": part}) for part in PARTS)
    assert first * second == second * first
    assert (first * second) * first == first * (second * first)
    assert len((first * second * first).rows[0].schedule.schedules) == 3
