"""A GAN with two optimizers at two time scales, in a training loop of its own.

The discriminator trains at four times the rate of the generator (Heusel et al., "GANs Trained by a Two Time-Scale Update
Rule", 2017). One plan says so for both networks, each optimizer takes its part, and `difflr.verify` measures one round.
The generator learns to place points on a ring. The loop runs on JAX, TensorFlow and PyTorch.

    python examples/gan.py
"""

import keras
import numpy as np

import difflr

BATCH, NOISE = 128, 4
cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)


def ring(count: int, rng) -> np.ndarray:
    """Real data: points near the unit circle."""
    angles = rng.uniform(0, 2 * np.pi, count)
    return (np.stack([np.cos(angles), np.sin(angles)], 1) + rng.normal(scale=0.05, size=(count, 2))).astype("float32")


def network(name: str, num_inputs: int, num_outputs: int) -> keras.Model:
    layers = [keras.layers.Dense(48, activation="leaky_relu") for _ in range(2)]
    return keras.Sequential([keras.Input((num_inputs,)), *layers, keras.layers.Dense(num_outputs)], name=name)


def gradients(loss, variables):
    """The gradients of `loss()`, written with Keras alone, on the backend in use."""
    values = [variable.value for variable in variables]
    if keras.backend.backend() == "torch":
        import torch

        return torch.autograd.grad(loss(), values)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = loss()
        return tape.gradient(value, values)
    import jax

    def stateless(values):
        with keras.StatelessScope(state_mapping=zip(variables, values, strict=True)):
            return loss()

    return jax.grad(stateless)(values)


def rounds(generator, discriminator, generator_optimizer, discriminator_optimizer):
    """A function that trains both networks on one batch of real points and noise."""

    def fake_loss(noise, label):
        answers = discriminator(generator(noise))
        return cross_entropy(keras.ops.full_like(answers, label), answers)

    def real_loss(real):
        answers = discriminator(real)
        return cross_entropy(keras.ops.ones_like(answers), answers)

    def train(batch):
        real, noise = batch
        players = (
            (discriminator_optimizer, discriminator, lambda: real_loss(real) + fake_loss(noise, 0.0)),
            (generator_optimizer, generator, lambda: fake_loss(noise, 1.0)),
        )
        steps = [(gradients(loss, network.trainable_variables), network) for _, network, loss in players]
        for (optimizer, _, _), (of_network, network) in zip(players, steps, strict=True):
            optimizer.apply(of_network, network.trainable_variables)

    return train


def main(num_rounds: int = 150) -> float:
    """Trains, and prints how far the points are from the ring on average."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    networks = network("generator", NOISE, 2), network("discriminator", 2, 1)
    gan = keras.Sequential([keras.Input((NOISE,)), *networks])
    plan = difflr.Plan(gan, {"discriminator": 4.0})
    print(plan.table(learning_rate=1e-3))

    def batch():
        return ring(BATCH, rng), rng.normal(size=(BATCH, NOISE)).astype("float32")

    def train_at(multipliers):
        def adam():
            return difflr.optimizers.Adam(1e-3, beta_1=0.5, multipliers=multipliers)

        return rounds(*networks, adam(), adam())

    print(difflr.verify(gan, batch(), plan=plan, step=train_at(plan), reference=train_at(difflr.Plan(gan))))

    def distance() -> float:
        points = keras.ops.convert_to_numpy(networks[0](rng.normal(size=(1000, NOISE)).astype("float32")))
        return float(np.abs(np.linalg.norm(points, axis=1) - 1).mean())

    before, train = distance(), train_at(plan)
    for _ in range(num_rounds):
        train(batch())
    print(f"Distance from the ring: {before:.2f} before, {distance():.2f} after {num_rounds} rounds.")
    return distance()


if __name__ == "__main__":
    main()
