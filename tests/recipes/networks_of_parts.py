"""Networks of several parts, by code, with the names that their peers have: a detector, a segmenter, two towers."""

import keras

DEPTHS = (2, 2, 5, 2)  # ConvNeXt's, shorter


class ConvNeXtBlock(keras.layers.Layer):
    def __init__(self, width, **arguments):
        super().__init__(**arguments)
        self.depthwise_conv = keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise_conv")
        self.norm = keras.layers.LayerNormalization(name="norm")
        self.pointwise_conv1 = keras.layers.Dense(2 * width, activation="gelu", name="pointwise_conv1")
        self.pointwise_conv2 = keras.layers.Dense(width, name="pointwise_conv2")

    def call(self, x):
        return x + self.pointwise_conv2(self.pointwise_conv1(self.norm(self.depthwise_conv(x))))


class ConvNeXt(keras.Model):
    """MMPretrain's, of which detectors and segmenters take the output of each stage."""

    def __init__(self, width=2, **arguments):
        super().__init__(**arguments)
        sizes, norm, conv = (4, 2, 2, 2), keras.layers.LayerNormalization, keras.layers.Conv2D
        self.downsample_layers = [keras.Sequential([conv(width, size, size), norm()]) for size in sizes]
        self.stages = [[ConvNeXtBlock(width) for _ in range(depth)] for depth in DEPTHS]
        self.norms = [norm(name=f"norm{stage}") for stage in range(4)]

    def call(self, x):
        features = []
        for downsample, blocks, norm in zip(self.downsample_layers, self.stages, self.norms, strict=True):
            x = downsample(x)
            for block in blocks:
                x = block(x)
            features.append(norm(x))
        return features


class FPN(keras.layers.Layer):
    def __init__(self, width=2, **arguments):
        super().__init__(**arguments)
        self.lateral_convs = [keras.layers.Conv2D(width, 1) for _ in range(4)]
        self.fpn_convs = [keras.layers.Conv2D(width, 3, padding="same") for _ in range(4)]
        self.up = keras.layers.UpSampling2D(2)

    def call(self, features):
        levels = [conv(feature) for conv, feature in zip(self.lateral_convs, features, strict=True)]
        for level in (2, 1, 0):
            levels[level] = levels[level] + self.up(levels[level + 1])
        return [conv(level) for conv, level in zip(self.fpn_convs, levels, strict=True)]


class BoxHead(keras.layers.Layer):
    """RetinaNet's: two convolutions and one for the result, the same for every level."""

    def __init__(self, outputs, **arguments):
        super().__init__(**arguments)
        self.convs = [keras.layers.Conv2D(2, 3, padding="same", activation="relu") for _ in range(2)]
        self.out = keras.layers.Conv2D(outputs, 3, padding="same")

    def call(self, level):
        for conv in self.convs:
            level = conv(level)
        return keras.ops.reshape(self.out(level), (keras.ops.shape(level)[0], -1))


class Detector(keras.Model):
    def __init__(self):
        super().__init__(name="detector")
        self.backbone, self.neck = ConvNeXt(name="backbone"), FPN(name="neck")
        self.bbox_head, self.cls_head = BoxHead(4, name="bbox_head"), BoxHead(3, name="cls_head")

    def call(self, x):
        levels = self.neck(self.backbone(x))
        return [keras.ops.concatenate([head(level) for level in levels], 1) for head in (self.bbox_head, self.cls_head)]


class Block(keras.layers.Layer):
    """A pre-norm transformer block."""

    def __init__(self, width, **arguments):
        super().__init__(**arguments)
        self.ln1, self.ln2 = keras.layers.LayerNormalization(name="ln1"), keras.layers.LayerNormalization(name="ln2")
        self.attn = keras.layers.MultiHeadAttention(2, width // 2, name="attn")
        self.mlp_in = keras.layers.Dense(width, activation="gelu", name="mlp_in")
        self.mlp_out = keras.layers.Dense(width, name="mlp_out")

    def build(self, shape):
        self.ln1.build(shape)
        self.ln2.build(shape)
        self.attn.build(shape, shape)
        self.mlp_in.build(shape)
        self.mlp_out.build(shape)

    def call(self, x):
        y = self.ln1(x)
        x = x + self.attn(y, y)
        return x + self.mlp_out(self.mlp_in(self.ln2(x)))


class ViT(keras.Model):
    """MAE's backbone in MMSegmentation: the outputs of some layers."""

    def __init__(self, num_layers=4, width=4, **arguments):
        super().__init__(**arguments)
        self.width = width
        self.patch_embed = keras.layers.Conv2D(width, 4, 4, name="patch_embed")
        self.blocks = [Block(width) for _ in range(num_layers)]

    def build(self, shape):
        self.cls_token = self.add_weight((1, 1, self.width), name="cls_token")
        self.pos_embed = self.add_weight((1, 17, self.width), name="pos_embed")
        self.patch_embed.build(shape)
        for block in self.blocks:
            block.build((None, 17, self.width))

    def call(self, x):
        x = keras.ops.reshape(self.patch_embed(x), (-1, 16, self.width))
        token = keras.ops.broadcast_to(self.cls_token, (keras.ops.shape(x)[0], 1, self.width))
        x = keras.ops.concatenate([token, x], 1) + self.pos_embed
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return features[1::2]


class Segmenter(keras.Model):
    def __init__(self):
        super().__init__(name="segmenter")
        self.backbone = ViT(name="backbone")
        self.convs = [keras.layers.Dense(2, activation="relu", name=f"decode_conv{level}") for level in range(2)]
        self.conv_seg = keras.layers.Dense(3, name="conv_seg")

    def call(self, x):
        features = [conv(feature) for conv, feature in zip(self.convs, self.backbone(x), strict=True)]
        return self.conv_seg(keras.ops.concatenate(features, -1))


class VisualTower(keras.layers.Layer):
    """open_clip's `VisionTransformer`."""

    def __init__(self, num_layers, width=4, **arguments):
        super().__init__(**arguments)
        self.width = width
        self.conv1 = keras.layers.Conv2D(width, 4, 4, use_bias=False, name="conv1")
        self.ln_pre, self.ln_post = (keras.layers.LayerNormalization(name=name) for name in ("ln_pre", "ln_post"))
        self.resblocks = [Block(width) for _ in range(num_layers)]
        self.proj = keras.layers.Dense(2, use_bias=False, name="proj")

    def build(self, shape):
        self.positional_embedding = self.add_weight((1, 16, self.width), name="positional_embedding")
        self.conv1.build(shape)
        for layer in (self.ln_pre, self.ln_post, *self.resblocks):
            layer.build((None, 16, self.width))
        self.proj.build((None, self.width))

    def call(self, x):
        x = keras.ops.reshape(self.conv1(x), (-1, 16, self.width)) + self.positional_embedding
        x = self.ln_pre(x)
        for block in self.resblocks:
            x = block(x)
        return self.proj(self.ln_post(x)[:, 0])


class TextTower(keras.layers.Layer):
    """open_clip's `TextTransformer`."""

    def __init__(self, num_layers, width=4, **arguments):
        super().__init__(**arguments)
        self.width = width
        self.token_embedding = keras.layers.Embedding(9, width, name="token_embedding")
        self.ln_final = keras.layers.LayerNormalization(name="ln_final")
        self.resblocks = [Block(width) for _ in range(num_layers)]
        self.text_projection = keras.layers.Dense(2, use_bias=False, name="text_projection")

    def build(self, shape):
        self.positional_embedding = self.add_weight((1, 5, self.width), name="positional_embedding")
        self.token_embedding.build(shape)
        for layer in (self.ln_final, *self.resblocks):
            layer.build((None, 5, self.width))
        self.text_projection.build((None, self.width))

    def call(self, x):
        x = self.token_embedding(x) + self.positional_embedding
        for block in self.resblocks:
            x = block(x)
        return self.text_projection(self.ln_final(x)[:, -1])


class CLIP(keras.Model):
    def __init__(self):
        super().__init__(name="clip")
        self.visual, self.text = VisualTower(3, name="visual"), TextTower(2, name="text")

    def build(self, shape):
        self.logit_scale = self.add_weight((), name="logit_scale")

    def call(self, inputs):
        image, text = self.visual(inputs["image"]), self.text(inputs["text"])
        return keras.ops.exp(self.logit_scale) * keras.ops.matmul(image, keras.ops.transpose(text))


def detector():
    model = Detector()
    model(keras.ops.ones((1, 64, 64, 3)))
    return model


def segmenter():
    model = Segmenter()
    model(keras.ops.ones((1, 16, 16, 3)))
    return model


def clip():
    model = CLIP()
    model({"image": keras.ops.ones((2, 16, 16, 3)), "text": keras.ops.ones((2, 5), "int32")})
    return model
