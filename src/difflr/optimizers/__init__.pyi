"""Every optimizer of `keras.optimizers` with a learning rate per variable, under its own name."""

# Made by `make stubs` from Keras 3.15.

from collections.abc import Callable
from typing import Any
from keras.optimizers.schedules import LearningRateSchedule

import keras

from difflr.optimizers.differential_optimizer import DifferentialOptimizer as DifferentialOptimizer
from difflr.optimizers.differential import differential as differential
from difflr.optimizers.differential import optimizer_classes as optimizer_classes
from difflr.optimizers.plan_of import plan_of as plan_of
from difflr.optimizers.replan import replan as replan
from difflr.optimizers.state_tree import extend_state_trees as extend_state_trees

__all__ = [
    "DifferentialOptimizer",
    "differential",
    "plan_of",
    "replan",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "Muon",
    "Nadam",
    "RMSprop",
    "SGD",
    "ScheduleFreeAdamW",
]

class Adadelta(DifferentialOptimizer, keras.optimizers.Adadelta):
    """`keras` optimizer `Adadelta` with a learning rate per variable."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-07,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        multipliers: Any = None,
        weight_decay_follows: str = "effective_rate",
        fused: bool = True,
    ) -> None: ...

class Adafactor(DifferentialOptimizer, keras.optimizers.Adafactor):
    """`keras` optimizer `Adafactor` with a learning rate per variable."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 0.001,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        multipliers: Any = None,
        weight_decay_follows: str = "effective_rate",
        fused: bool = True,
    ) -> None: ...

class Adagrad(DifferentialOptimizer, keras.optimizers.Adagrad):
    """`keras` optimizer `Adagrad` with a learning rate per variable."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-07,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        multipliers: Any = None,
        weight_decay_follows: str = "effective_rate",
        fused: bool = True,
    ) -> None: ...

class Adam(DifferentialOptimizer, keras.optimizers.Adam):
    """`keras` optimizer `Adam` with a learning rate per variable."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-07,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        multipliers: Any = None,
        weight_decay_follows: str = "effective_rate",
        fused: bool = True,
    ) -> None: ...

class AdamW(DifferentialOptimizer, keras.optimizers.AdamW):
    """`keras` optimizer `AdamW` with a learning rate per variable."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-07,
        amsgrad: bool = False,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        multipliers: Any = None,
        weight_decay_follows: str = "effective_rate",
        fused: bool = True,
    ) -> None: ...

class Adamax(DifferentialOptimizer, keras.optimizers.Adamax):
    """`keras` optimizer `Adamax` with a learning rate per variable."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-07,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        multipliers: Any = None,
        weight_decay_follows: str = "effective_rate",
        fused: bool = True,
    ) -> None: ...

class Ftrl(DifferentialOptimizer, keras.optimizers.Ftrl):
    """`keras` optimizer `Ftrl` with a learning rate per variable."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        multipliers: Any = None,
        weight_decay_follows: str = "effective_rate",
        fused: bool = True,
    ) -> None: ...

class Lamb(DifferentialOptimizer, keras.optimizers.Lamb):
    """`keras` optimizer `Lamb` with a learning rate per variable."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-07,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        multipliers: Any = None,
        weight_decay_follows: str = "effective_rate",
        fused: bool = True,
    ) -> None: ...

class Lion(DifferentialOptimizer, keras.optimizers.Lion):
    """`keras` optimizer `Lion` with a learning rate per variable."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        multipliers: Any = None,
        weight_decay_follows: str = "effective_rate",
        fused: bool = True,
    ) -> None: ...

class Muon(DifferentialOptimizer, keras.optimizers.Muon):
    """`keras` optimizer `Muon` with a learning rate per variable."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float = 0.004,
        epsilon: float = 1e-07,
        weight_decay: float | None = 0.004,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        exclude_layers: Any = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.775,
        muon_c: float = 2.0315,
        adam_lr_ratio: Any = 1,
        momentum: float = 0.95,
        ns_steps: Any = 5,
        nesterov: bool = True,
        rms_rate: float = 0.2,
        *,
        multipliers: Any = None,
        weight_decay_follows: str = "effective_rate",
        fused: bool = True,
    ) -> None: ...

class Nadam(DifferentialOptimizer, keras.optimizers.Nadam):
    """`keras` optimizer `Nadam` with a learning rate per variable."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-07,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        multipliers: Any = None,
        weight_decay_follows: str = "effective_rate",
        fused: bool = True,
    ) -> None: ...

class RMSprop(DifferentialOptimizer, keras.optimizers.RMSprop):
    """`keras` optimizer `RMSprop` with a learning rate per variable."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-07,
        centered: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        multipliers: Any = None,
        weight_decay_follows: str = "effective_rate",
        fused: bool = True,
    ) -> None: ...

class SGD(DifferentialOptimizer, keras.optimizers.SGD):
    """`keras` optimizer `SGD` with a learning rate per variable."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        multipliers: Any = None,
        weight_decay_follows: str = "effective_rate",
        fused: bool = True,
    ) -> None: ...

class ScheduleFreeAdamW(DifferentialOptimizer, keras.optimizers.ScheduleFreeAdamW):
    """`keras` optimizer `ScheduleFreeAdamW` with a learning rate per variable."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-08,
        warmup_steps: Any = 0,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        multipliers: Any = None,
        weight_decay_follows: str = "effective_rate",
        fused: bool = True,
    ) -> None: ...
