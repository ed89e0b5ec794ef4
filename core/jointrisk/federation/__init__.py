"""What a federation has agreed on: who its members are, what they train on, under which rules."""
