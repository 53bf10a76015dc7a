"""Contract suites: what operators, backbones and heads must hold, as classes for pytest to inherit.

    class TestMyBackbone(BackboneContract):
        def make(self):
            return MyBackbone(channels=8)

Keep the parts small: each test builds one, and one compiles it (without code generation).
"""

from .backbones import BackboneContract
from .backends import BackendContract
from .heads import HeadContract
from .operators import OperatorContract

__all__ = ["BackboneContract", "BackendContract", "HeadContract", "OperatorContract"]
