"""How fast is this trained network on this phone, and how many inferences does one charge buy?"""

__version__ = "0.1.0"
