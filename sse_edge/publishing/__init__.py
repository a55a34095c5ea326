"""What is published, by whatever code and from iterators; and orders to all workers."""
