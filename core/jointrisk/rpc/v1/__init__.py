"""Generated from proto/jointrisk/v1 by `make proto`. Do not edit."""
