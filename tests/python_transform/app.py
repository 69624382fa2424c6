"""A transform in Python: writes one text property in capital letters. `transform.py` has the work.

Option: `property`, its name.
"""

from wit_world import exports
from wit_world.exports import about


class About(exports.About):
    def describe_guest(self):
        option = about.KnownOption("property", "The property to capitalise.", False)
        return about.Description("Writes a text property in capital letters.", [option])


class Transform(exports.Transform):
    """Its resource is in the module that is called like the interface."""
