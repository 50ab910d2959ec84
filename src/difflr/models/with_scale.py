"""`with_scale`: a model that scales its pictures itself."""

import keras

from difflr.data.scale import SCALES
from difflr.models.new_head import as_functional, free_name

# Scale -> factor and offset of each channel, as keras.applications.imagenet_utils.preprocess_input has them.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESCALING = {
    "0..1": (1 / 255, 0.0),
    "-1..1": (1 / 127.5, -1.0),
    "imagenet": (
        [1 / (255 * each) for each in DEVIATION],
        [-mean / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)],
    ),
    "caffe": (1.0, [-103.939, -116.779, -123.68]),
}


def with_scale(model: keras.Model, scale: str) -> keras.Model:
    """The model behind layers that convert pictures from 0..255 to the scale it was trained with.

    So its file says itself what it takes, and predicts right in plain Keras. The layers are shared with `model`: training
    the one trains the other, and plans of the one fit the other.

    Args:
        model: A functional or Sequential model, built, with one input: pictures, channels last.
        scale: One of `difflr.data.SCALES`.

    Returns:
        A functional model, not compiled; with `"0..255"` the model itself.

    Raises:
        ValueError: If `scale` is none of these, or needs three channels.

    Example:

    ```python
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="stem")])
    whole = difflr.models.with_scale(network, "-1..1")
    picture = np.full((1, 8, 8, 3), 255.0)
    np.testing.assert_allclose(whole.predict(picture, verbose=0), network.predict(picture / 255, verbose=0), rtol=1e-5)
    ```
    """
    if scale not in SCALES:
        raise ValueError(f"`scale` must be one of {', '.join(SCALES)}. Received: {scale!r}.")
    if scale not in RESCALING:
        return model
    model = as_functional(model)
    shape = model.inputs[0].shape
    if scale in ("imagenet", "caffe") and shape[-1] != 3:
        raise ValueError(f"The scale '{scale}' is for RGB pictures. Received: a model of {shape[-1]} channels.")
    inputs = keras.Input(batch_shape=shape, name=free_name(model, "pictures"))
    x = keras.ops.flip(inputs, axis=-1) if scale == "caffe" else inputs  # RGB -> BGR
    factor, offset = RESCALING[scale]
    x = keras.layers.Rescaling(factor, offset, name=free_name(model, "to_scale"))(x)
    return keras.Model(inputs, model.call(x), name=model.name)  # `model(x)` would be a layer, with other paths below it
