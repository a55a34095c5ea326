"""What observations mean.  Pure: no I/O, no clock."""
