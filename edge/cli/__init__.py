"""The `edge-voice` command, one thin file a subcommand."""
