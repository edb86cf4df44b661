"""The steering desk: a local page on which a model is steered by hand, one text beside the other.

Nothing is imported here: the server needs the packages of the extra `serve`, and `emosae serve --help` does not.
"""

__all__: list[str] = []
