"""What runs at a member institution: `jointrisk node run` and its commands."""
