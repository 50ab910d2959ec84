"""How much is measured: the default run takes minutes on two cores, the full one perhaps an hour."""

from dataclasses import dataclass, field

COUNT = 150  # weights of the bare models
WIDTHS = {"small": 64, "large": 512}
GRADIENT_SIZE = 1e-2
BLOCKS = 12  # of the model of which a share is frozen
MODES = {"jax": ["jit"], "tensorflow": ["graph", "xla"], "torch": ["eager"]}
BACKENDS = tuple(MODES)


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Args:
        groups: Numbers of groups of variables, on the small bare model.
        large_groups: The same on the large one.
        seconds: How long one pair of contenders takes turns, at most.
        least: Rounds of a pair, at least, however long they take.
        most: Rounds of a pair, at most.
        compile_rounds: How often each of a pair is compiled.
        frozen: How many of the blocks are frozen.
        fit_steps: Steps in one measured epoch of `fit`.
        networks: What `fit` trains, for each backend.
        optimizers: Optimizers measured with one group per variable, for each backend.
        variables: Sizes of the models whose plan is resolved, for each backend.
        memory: Contenders whose peak memory is measured, `(name, groups)`.
    """

    groups: tuple[int, ...] = (1, 12, 150)
    large_groups: tuple[int, ...] = (1, 150)
    seconds: float = 2.0
    least: int = 5
    most: int = 151
    compile_rounds: int = 1
    frozen: tuple[int, ...] = (0, 6, 9)
    fit_steps: int = 8
    networks: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "jax": ("small transformer",),
            "tensorflow": ("small transformer",),
            "torch": ("MobileNetV2", "small transformer"),
        }
    )
    optimizers: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "jax": (),
            "tensorflow": (),
            "torch": ("SGD", "Adam", "Adagrad", "Adadelta", "Adamax", "Lion", "Nadam", "RMSprop"),
        }
    )
    variables: dict[str, tuple[int, ...]] = field(
        default_factory=lambda: {"jax": (100, 1000, 10000), "tensorflow": (100, 1000), "torch": (100, 1000)}
    )
    memory: tuple[tuple[str, int], ...] = (("stock", 1), ("difflr", 150))


DEFAULT = Settings()

QUICK = Settings(
    groups=(1, 150),
    seconds=0.2,
    least=3,
    most=5,
    frozen=(9,),
    fit_steps=2,
    networks=dict.fromkeys(BACKENDS, ("small transformer",)),
    optimizers=dict.fromkeys(BACKENDS, ("SGD",)),
    variables=dict.fromkeys(BACKENDS, (100, 1000)),
    memory=(),
)

ALL_OPTIMIZERS = (
    "SGD",
    "Adam",
    "Adagrad",
    "Adadelta",
    "Adamax",
    "Lion",
    "Nadam",
    "RMSprop",
    "Adafactor",
    "Ftrl",
    "Lamb",
)

FULL = Settings(
    groups=(1, 2, 5, 12, 40, 150),
    large_groups=(1, 12, 150),
    seconds=8.0,
    least=11,
    most=201,
    compile_rounds=5,
    frozen=(0, 3, 6, 9, 11),
    fit_steps=20,
    networks=dict.fromkeys(BACKENDS, ("MobileNetV2", "small convolutional", "small transformer")),
    optimizers=dict.fromkeys(BACKENDS, ALL_OPTIMIZERS),
    variables=dict.fromkeys(BACKENDS, (100, 300, 1000, 3000, 10000)),
    memory=(
        ("stock", 1),
        ("difflr", 1),
        ("difflr", 12),
        ("difflr", 150),
        ("MultiOptimizer", 12),
        ("MultiOptimizer", 150),
    ),
)

BY_NAME = {"quick": QUICK, "default": DEFAULT, "full": FULL}
