"""`lora_plus` for every Keras layer that has LoRA."""

import keras
import numpy as np
import pytest

import difflr


@pytest.fixture
def model():
    words = keras.Input((8,), dtype="int32")
    x = keras.layers.Embedding(9, 4, name="embedding")(words)
    x = keras.layers.Conv1D(4, 3, name="conv")(x)
    x = keras.layers.EinsumDense("abc,cd->abd", (None, 4), name="einsum")(x)
    x = keras.layers.Dense(4, name="dense")(x)
    model = keras.Model(words, keras.layers.Dense(2, name="head")(x))
    for name in ("embedding", "conv", "einsum", "dense"):
        model.get_layer(name).enable_lora(2)
    return model


@pytest.mark.same_everywhere
def test_the_second_factors_get_the_ratio(model):
    plan = difflr.lora_plus(model, 8)
    fast = [row.path for row in plan.rows if row.multiplier == 8]
    assert fast == [
        "embedding/lora_embeddings_b", "conv/lora_kernel_b", "einsum/lora_kernel_b", "dense/lora_kernel_b",
    ]  # fmt: skip
    assert {row.multiplier for row in plan.rows if row.path not in fast and not row.frozen} == {1}
    assert [row.path for row in plan.rows if row.frozen] == [
        "embedding/embeddings", "conv/kernel", "einsum/kernel", "dense/kernel",
    ]  # fmt: skip


@pytest.mark.same_everywhere
def test_the_second_factors_are_those_that_start_at_zero(model):
    for row in difflr.lora_plus(model).rows:
        if "lora" in row.path:
            at_zero = not np.any(keras.ops.convert_to_numpy(row.variable))
            assert at_zero == (row.multiplier == 16)


@pytest.mark.same_everywhere
def test_without_lora():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=r"has no LoRA variables\. Call `layer\.enable_lora\(rank\)`"):
        difflr.lora_plus(model)


@pytest.mark.same_everywhere
def test_a_ratio_of_zero(model):
    with pytest.raises(ValueError, match="`ratio` must be above 0"):
        difflr.lora_plus(model, 0)
