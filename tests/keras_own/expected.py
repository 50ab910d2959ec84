"""Where Keras's own tests differ on purpose with difflr's optimizers, and why."""

from typing import NamedTuple

BACKENDS = ("jax", "tensorflow", "torch")


class Expected(NamedTuple):
    """A test that has to fail, `Class::name` without what stands in brackets."""

    test: str
    reason: str
    only_with_multiplier: bool = False
    backends: tuple[str, ...] = BACKENDS


COUNTS_STATE = "it counts the state: ours has one entry more, the multipliers"
READS_RATE = "it reads `optimizer.learning_rate`, the base rate, which was divided"
UNBUILT = "it lets an optimizer decay that was never built, and so has no plan and no multipliers yet"

EXPECTED = [
    Expected("SGDTest::test_single_step", COUNTS_STATE),
    Expected("SavingTest::test_scalar_weight", f"{COUNTS_STATE}, and the names of what the state is of"),
    Expected(
        "SavingTest::test_saved_module_paths_and_class_names", "it compares the saved class and config with Adam's"
    ),
    Expected("MuonTest::test_adamw_weight_decay", UNBUILT, True),
    Expected("MuonTest::test_muon_weight_decay", UNBUILT, True),
    Expected("LearningRateSchedulerTest::test_schedule_dependent_on_previous_learning_rate", READS_RATE, True),
    Expected("ReduceLROnPlateauTest::test_cooldown", READS_RATE, True),
    Expected("ReduceLROnPlateauTest::test_reduces_lr_with_model_fit", READS_RATE, True),
    Expected("ReduceLROnPlateauTest::test_verbose_logging", READS_RATE, True),
]

# Modules and tests in which no optimizer of ours can stand.
LEFT_OUT = {
    "loss_scale_optimizer_test": "about a wrapper",
    "multi_optimizer_test": "about a wrapper",
    "remote_monitor_test": "needs a file of Keras's repository that is in no package",
}
NOT = "not multiprocessing"  # how data come from other processes; half an hour on a busy machine
