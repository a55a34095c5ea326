"""What is under load: programs on loopback, deployments of the shipped files, and apps for the benchmarks."""
