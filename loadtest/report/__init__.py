"""What is kept of a load-test run: a picture, a page and a text, all made of the same summary."""
