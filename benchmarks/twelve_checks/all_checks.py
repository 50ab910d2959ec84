"""The twelve, in the order of the page. It imports Keras: the backend is chosen by then."""

from benchmarks.twelve_checks import devices, freezing, rates, saving, speed, targets

CHECKS = {
    "backbone": targets.BACKBONE,
    "nothing": targets.NOTHING,
    "overlap": targets.OVERLAP,
    "plateau": rates.PLATEAU,
    "scheduler": rates.SCHEDULER,
    "clip": rates.CLIP,
    "freeze": freezing.FREEZE,
    "unfreeze": freezing.THAW,
    "devices": devices.DEVICE,
    "resume": saving.RESUME,
    "step": speed.STEP,
    "decay": saving.DECAY,
}
