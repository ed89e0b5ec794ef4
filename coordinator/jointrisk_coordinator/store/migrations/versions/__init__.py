"""One module per change of the schema, made by `tools/make_migration.py`."""
