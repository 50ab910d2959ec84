"""The one folder that knows Keras's private names.

Everything difflr needs from Keras beyond its public API passes through here. Each entry says why it is needed;
`tests/test_keras_private.py` fails with one clear line per entry when Keras changes it.
"""

from difflr.keras_private.graph import (
    Arguments,
    Call,
    Graph,
    UnreadableError,
    all_trainable_variables,
    graph_of,
)
from difflr.keras_private.hyperparameters import (
    CLIPNORM,
    DECAY,
    Number,
    clipped_together,
    hyperparameters,
    in_step,
    why_constant,
    why_not,
)
from difflr.keras_private.layers import (
    AfterBuild,
    attributes,
    Functional,
    base_of_lora,
    functional_init_arguments,
    let_trainable_be_set,
    own_trainable_variables,
    saves_its_layers,
    sublayers,
    to_snake_case,
    trace,
)
from difflr.keras_private.optimizers import (
    ACCUMULATORS,
    ITERATION,
    LEARNING_RATE,
    AVERAGES,
    MULTI_OPTIMIZERS,
    SGD_SCALES_FIRST,
    applications,
    before_build,
    clipped,
    clock,
    copy_of,
    copy_weight_decay_exclusions,
    decays,
    factored_shape,
    fast_class,
    is_away,
    is_traced,
    live_learning_rate,
    nadam_product,
    optimizer_map,
    position,
    public_class,
    set_applications,
    shared_state,
    slots,
    state_of,
    trained,
    unbuild,
    values,
)
from difflr.keras_private.state import (
    global_seed,
    layer_flags,
    set_global_seed,
    set_layer_flags,
    set_random_seed,
)
from difflr.keras_private.update import (
    OptimizerHooks,
    bases,
    bias_correction,
    decays_by_itself,
)
from difflr.keras_private.fit import (
    begin_with_epoch,
    callback_list,
    compile_arguments,
    forget_metrics,
    load_apart,
    load_lora,
    renew_step,
    strategy_scope,
    sync_state,
    values_in_state,
    weights_file,
)
