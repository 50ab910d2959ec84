"""`with_scale`: a model that scales its images itself."""

import keras

from difflr.checks import checked_option
from difflr.data.scale import RESCALING, SCALES
from difflr.models.new_head import as_functional, free_name


def with_scale(model: keras.Model, scale: str) -> keras.Model:
    """Add layers in front of a model that convert images from 0..255 to the scale it was trained with.

    The saved model then takes 0..255 and predicts correctly in plain Keras. Layers are shared with `model`: training one
    trains the other, and plans for one fit the other.

    Args:
        model: A functional or Sequential model, built, with one input: images, channels last.
        scale: One of `difflr.data.SCALES`.

    Returns:
        A functional model, not compiled; with `"0..255"` `model` itself.

    Raises:
        ValueError: If `scale` is not one of these, or needs three channels.

    Example:

    ```python
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="stem")])
    whole = difflr.models.with_scale(network, "-1..1")
    image = np.full((1, 8, 8, 3), 255.0)
    np.testing.assert_allclose(whole.predict(image, verbose=0), network.predict(image / 255, verbose=0), rtol=1e-5)
    ```
    """
    checked_option(scale, "scale", SCALES)
    if scale not in RESCALING:
        return model
    model = as_functional(model)
    shape = model.inputs[0].shape
    if scale in ("imagenet", "caffe") and shape[-1] != 3:
        raise ValueError(f"The scale '{scale}' is for RGB images. Received: a model with {shape[-1]} channels.")
    inputs = keras.Input(batch_shape=shape, name=free_name(model, "images"))
    x = keras.ops.flip(inputs, axis=-1) if scale == "caffe" else inputs  # RGB -> BGR
    factor, offset = RESCALING[scale]
    x = keras.layers.Rescaling(factor, offset, name=free_name(model, "to_scale"))(x)
    return keras.Model(inputs, model.call(x), name=model.name)  # `model(x)` would nest the model and change the paths
