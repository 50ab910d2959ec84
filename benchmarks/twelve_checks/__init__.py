"""Twelve checks of different rates for different layers, the same on Keras alone and on difflr."""
