"""From what was recognized to whether the door may open."""
