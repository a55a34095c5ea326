"""The shipped proxy configurations, and what is replaced in them."""
