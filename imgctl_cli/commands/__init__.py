"""The commands, a module each. `imgctl_cli.main` imports the one that is asked for."""
