"""What the commands of both roles share: where the state is, the master key, asking the daemon, showing answers."""
