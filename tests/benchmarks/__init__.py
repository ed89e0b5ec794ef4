"""Measurements with goals, by suite: ``make bench``, ``make bench SUITE=training QUICK=1``.

Every suite writes ``build/bench/SUITE.json`` in one form (see :mod:`benchmarks.report`) and prints a table.
"""
