"""Operators: tensors in, tensors out, any number of axes, one folder each with its backends."""
