"""The N-D alphabet that backbones, necks and heads are written in."""
