"""What CONTRIBUTING.md does not show."""

import warnings
