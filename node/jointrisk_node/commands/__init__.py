"""The node's command line, a module per capability."""
