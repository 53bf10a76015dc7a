"""Conducts training: what to optimise, when to validate, what to keep. Computes nothing itself."""
