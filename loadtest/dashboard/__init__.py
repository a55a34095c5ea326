"""deploy/grafana.json held against a run: real workers, a real Prometheus, and a picture of what it shows."""
