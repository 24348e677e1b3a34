"""`python -m driftloop_local up`: the same commands as `driftloop up`, without the client package."""

import typer

from driftloop_local import commands

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The local stack.")
for command in (commands.up, commands.down, commands.status, commands.doctor):
    app.command()(command)

if __name__ == "__main__":
    app()
