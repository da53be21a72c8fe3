"""Who speaks, and what is said: enrolment, verification, identification."""
