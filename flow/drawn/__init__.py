"""Drawn motion: flow fields of micro-expressions that no camera ever saw.

No face and no frame is rendered. A clip is its optical flow from onset to apex, drawn as a sum
of Gaussian pushes, and a network can learn from such clips alone: a recogniser whose weights owe
nothing to a licensed face.

Where the numbers come from: which units there are and where a face moves with each is the Facial
Action Coding System (Ekman, Friesen, Hager 2002), read in `units`; which units make which class
is in `recipes`, with its sources; how much everything varies (`settings`, and the constants of
`plan` and `fields`) is this project's choice, made by eye and by measurements on the recorded
flow of eight subjects of SMIC, CASME II and SAMM.
"""

from flow.drawn.fields import FACE, Drawn, Window, draw
from flow.drawn.settings import Settings
from flow.drawn.units import HALVES

__all__ = ["FACE", "HALVES", "Drawn", "Settings", "Window", "draw"]
