"""How often replays are detected, and repetitions mistaken for one."""
