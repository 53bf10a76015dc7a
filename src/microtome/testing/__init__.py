"""Contract suites: what operators, backbones, heads and stores must hold, for pytest to inherit.

    class TestMyBackbone(BackboneContract):
        def make(self):
            return MyBackbone(channels=8)

Keep the parts small: each test builds one, and one compiles it (without code generation).
"""

from .backbones import BackboneContract
from .backends import BackendContract
from .heads import HeadContract
from .operators import OperatorContract
from .stores import StoreContract

__all__ = [
    "BackboneContract",
    "BackendContract",
    "HeadContract",
    "OperatorContract",
    "StoreContract",
]
