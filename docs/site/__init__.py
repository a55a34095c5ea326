"""The pages of the tree as a site: ``python -m docs.site``."""
