"""The coordinator's command line, a module per capability."""
