"""python -m restframe"""

from restframe.cli.main import command

command()
