"""HED on VGG16: a published network whose training file gives kernel and bias of every layer their own rate and decay.

"Holistically-Nested Edge Detection" (Xie and Tu, ICCV 2015, https://arxiv.org/abs/1504.06375) fine-tunes VGG16 with
the multipliers of `examples/hed/train_val.prototxt` (s9xie/hed, commit a2ad410): conv5 a hundred times faster than
the rest of the body, the new side outputs slower than the body, the fusion slowest of all, fixed upsampling frozen, biases
at twice the rate of their kernels and without weight decay. Here that is one plan of six lines.

    python examples/hed_vgg16.py
"""

import keras
import numpy as np

import difflr

# lr_mult of kernel and bias, decay_mult of kernel and bias: the published table, layer by layer.
PUBLISHED = {
    **{f"block{b}_conv{c}": (1, 2, 1, 0) for b, n in enumerate((2, 2, 3, 3), 1) for c in range(1, n + 1)},
    **{f"block5_conv{c}": (100, 200, 1, 0) for c in (1, 2, 3)},
    **{f"dsn{b}": (0.01, 0.02, 1, 0) for b in range(1, 6)},
    **{f"upsample{b}": (0, 0, 1, 0) for b in range(2, 6)},
    "fuse": (0.001, 0.002, 1, 0),
}
BASE_RATE, MOMENTUM, WEIGHT_DECAY = 1e-6, 0.9, 2e-4  # examples/hed/solver.prototxt


def build(size: int = 64) -> keras.Model:
    """HED as a functional model: five side outputs of VGG16, upsampled by fixed bilinear kernels, and fused."""
    inputs = x = keras.Input((size, size, 3))
    sides = []
    for block, (convolutions, filters) in enumerate(zip((2, 2, 3, 3, 3), (64, 128, 256, 512, 512), strict=True), 1):
        if block > 1:
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"pool{block - 1}")(x)
        for number in range(1, convolutions + 1):
            name = f"block{block}_conv{number}"
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=name)(x)
        side = keras.layers.Conv2D(1, 1, name=f"dsn{block}")(x)
        if block > 1:
            stride = 2 ** (block - 1)
            upsample = keras.layers.Conv2DTranspose(1, 2 * stride, stride, padding="same", name=f"upsample{block}")
            side = upsample(side)
            upsample.kernel.assign(bilinear(2 * stride))
        sides.append(side)
    fused = keras.layers.Conv2D(1, 1, kernel_initializer=keras.initializers.Constant(0.2), name="fuse")
    return keras.Model(inputs, [*sides, fused(keras.layers.Concatenate(name="sides")(sides))], name="hed")


def bilinear(size: int) -> np.ndarray:
    """The kernel of a bilinear upsampling: shape (size, size, 1, 1)."""
    ramp = 1 - np.abs((np.arange(size) - (size - 1) / 2) / (size / 2))
    return np.outer(ramp, ramp).astype("float32")[..., None, None]


def published_plan(model: keras.Model) -> difflr.Plan:
    """The published multipliers: rates by layer, times what every bias gets."""
    by_layer = difflr.Plan(model, {"block5_*": 100, "dsn*": 0.01, "upsample*": difflr.FROZEN, "fuse": 0.001})
    biases = difflr.Plan(model, {"kind:bias": {"multiplier": 2, "weight_decay_multiplier": 0}})
    return by_layer * biases


def main() -> None:
    """Prints the plan and takes a few steps on a made-up image with edges."""
    model = build()
    plan = published_plan(model)
    print(plan.table(BASE_RATE))
    optimizer = difflr.optimizers.SGD(BASE_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, multipliers=plan)
    model.compile(optimizer, loss=[keras.losses.BinaryCrossentropy(from_logits=True)] * 6)
    image = np.zeros((1, 64, 64, 3), "float32")
    image[:, 16:48, 16:48] = 100.0
    edges = np.zeros((1, 64, 64, 1), "float32")
    edges[:, 16:48, [16, 47]] = edges[:, [16, 47], 16:48] = 1.0
    model.fit(image, [edges] * 6, epochs=2)


if __name__ == "__main__":
    main()
