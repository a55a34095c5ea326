"""What a stream takes of a machine: memory, descriptors and CPU, by component."""
