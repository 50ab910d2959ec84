"""Phases in `fit`: who moves when, and how far."""

import difflr
from difflr import Phase
from training.in_phases import NAMES, Weights, compiled, fit

THREE = [Phase("head", epochs=1), Phase(["head", "mid"], epochs=2), Phase("*")]


def test_each_layer_moves_in_its_phases_only():
    weights = Weights()
    fit(compiled(), THREE, [weights], epochs=5)
    assert weights.moved == [{"head"}, {"head", "mid"}, {"head", "mid"}, set(NAMES), set(NAMES)]


def test_chain_thaw_freezes_again():
    weights = Weights()
    model = compiled()
    fit(model, difflr.phases.chain_thaw(model), [weights], epochs=4)
    assert weights.moved == [{"head"}, {"low"}, {"mid"}, set(NAMES)]
