"""Models as if they were pretrained: no bias, no norm weight is where it was initialized."""


def as_if_trained(model):
    for variable in model.trainable_variables:
        if len(variable.shape) <= 1 or variable.name == "bias":
            variable.assign(variable + 0.01)
    return model
