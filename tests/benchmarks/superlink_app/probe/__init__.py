"""The trivial job that Flower's own processes run for comparison."""
