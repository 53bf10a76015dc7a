"""Images that are drawn, not taken: for a first run and for tests, with exact truth."""

from .samples import SyntheticNuclei, SyntheticTissue
from .writing import write_nuclei, write_tissue

__all__ = ["SyntheticNuclei", "SyntheticTissue", "write_nuclei", "write_tissue"]
