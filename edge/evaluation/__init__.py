"""How often strangers would get in and residents be turned away, measured on recordings."""
