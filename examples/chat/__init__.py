"""A chat with a model, whose answers outlive requests, reloads and workers: see README.md beside this."""
