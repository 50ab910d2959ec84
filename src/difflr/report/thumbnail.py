"""`thumbnail`: an image that a page holds in itself."""

import base64
import io
import math

import numpy as np

SIDE = 160


def thumbnail(pixels: np.ndarray) -> str:
    """A small JPEG as a `data:` address.

    Args:
        pixels: Values 0..255, `(height, width, channels)`, with 1, 3 or 4 channels.
    """
    from PIL import Image

    values = np.clip(np.asarray(pixels), 0, 255).astype("uint8")
    image = Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values).convert("RGB")
    larger = math.ceil(SIDE / max(image.size))
    if larger > 1:  # small images are enlarged in whole pixels: what the network saw
        image = image.resize((image.width * larger, image.height * larger), Image.Resampling.NEAREST)
    image.thumbnail((2 * SIDE, 2 * SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
