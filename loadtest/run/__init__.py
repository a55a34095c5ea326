"""A run: what is asked for, who publishes, who conducts, and what is measured besides."""
