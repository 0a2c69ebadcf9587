"""Benchmarks: each side by side with a peer or a ceiling in one run, so that ratios mean something on a noisy machine."""
