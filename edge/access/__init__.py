"""From recognition to whether the door may open."""
