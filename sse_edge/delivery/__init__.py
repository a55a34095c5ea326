"""What they hear: one worker's streams and the loop that writes to them."""
