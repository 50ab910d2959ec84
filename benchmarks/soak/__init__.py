"""A long run with phases, logs and checkpoints: does its memory grow, do its steps slow down?"""
