"""What the tests run against: real servers and browsers, and scripted clients for them."""
