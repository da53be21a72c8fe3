"""From what was recognised to whether the door may open."""
