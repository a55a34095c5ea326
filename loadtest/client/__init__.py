"""Event streams as browsers hold them, thousands in a process, as a Locust user."""
