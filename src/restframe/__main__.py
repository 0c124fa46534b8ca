"""python -m restframe"""

from restframe.cli.start import command

command()
