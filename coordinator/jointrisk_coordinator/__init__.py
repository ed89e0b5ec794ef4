"""What runs at the coordinator: `jointrisk coordinator run` and its commands."""
