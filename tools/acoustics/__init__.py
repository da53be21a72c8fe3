"""What an entrance does to sound: noise, rooms and microphones, for `tools.conditions`."""
