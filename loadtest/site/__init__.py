"""What is under load: programs on loopback, deployments of the shipped files, and what looks on."""
