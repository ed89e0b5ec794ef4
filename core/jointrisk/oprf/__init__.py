"""Threshold oblivious pseudorandom function."""
