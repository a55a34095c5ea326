"""What processes, sockets and the machine use, as the kernel says."""
