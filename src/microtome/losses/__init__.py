"""Losses: pure functions of tensors, aware of ignored pixels."""
