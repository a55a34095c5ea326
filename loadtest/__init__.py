"""Load tests, and the checker that they share with the fault tests."""
