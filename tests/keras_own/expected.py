"""Where Keras's own tests differ on purpose with difflr's optimizers, and why."""

from typing import NamedTuple

BACKENDS = ("jax", "tensorflow", "torch")


class Expected(NamedTuple):
    """A test that has to fail, `Class::name` without what stands in brackets."""

    test: str
    reason: str
    only_with_multiplier: bool = False
    backends: tuple[str, ...] = BACKENDS


NOTHING_TO_TRAIN = "ours refuses to be built without variables"
BASE_RATE = "it hands the whole rate to `update_step`, behind the base rate that was divided"
UNBUILT = "it lets an optimizer decay that was never built, and so has no plan and no multipliers yet"

EXPECTED = [
    Expected("SGDTest::test_single_step", "it counts the state: ours has one scalar more, the multiplier"),
    Expected("NadamTest::test_build_with_empty_var_list", NOTHING_TO_TRAIN),
    Expected("CallbackTest::test_model_state_is_current_on_epoch_end", NOTHING_TO_TRAIN),
    Expected("TestTensorBoardV2::test_custom_summary", NOTHING_TO_TRAIN),
    Expected("MuonTest::test_adamw_single_step", BASE_RATE, True),
    Expected("MuonTest::test_muon_single_step", BASE_RATE, True),
    Expected("MuonTest::test_adamw_weight_decay", UNBUILT, True),
    Expected("MuonTest::test_muon_weight_decay", UNBUILT, True),
]

# Modules and tests in which no optimizer of ours can stand.
LEFT_OUT = {
    "loss_scale_optimizer_test": "about a wrapper",
    "multi_optimizer_test": "about a wrapper",
    "remote_monitor_test": "needs a file of Keras's repository that is in no package",
}
NOT = "not multiprocessing"  # how data come from other processes; half an hour on a busy machine
