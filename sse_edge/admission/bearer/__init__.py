"""Tokens that another has signed, in the header Authorization."""
