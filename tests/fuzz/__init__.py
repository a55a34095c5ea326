"""Fuzzing: what reads bytes of strangers, each as a pure function with an oracle, and a corpus for each."""
