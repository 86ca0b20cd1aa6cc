"""Write one of onnx's "light" networks with seeded He-scaled weights (see `neuronsim/demo/he_weights.py`).

    python examples/he_weights.py resnet50 -o resnet50.onnx [--seed 0]
"""
from __future__ import annotations

from neuronsim.demo.he_weights import main

if __name__ == "__main__":
    main()
