"""Programs for building, measuring and demonstrating; the software itself never imports them."""
