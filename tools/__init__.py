"""Programs for building, measuring and demonstrating; the product never imports them."""
