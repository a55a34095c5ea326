"""What tests of several files share, a module for each noun."""
