"""Configs of other programs in our words. No torch."""
