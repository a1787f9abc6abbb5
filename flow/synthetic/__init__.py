"""Stand-in databases: invented faces in the layouts of SMIC-HS, CASME II and SAMM, and long videos
in those of CAS(ME)² and SAMM Long Videos.

They stand in for databases that nobody may redistribute: the readers, the flow and the
training run on them as on the real ones. No frame shows a person.
"""

from flow.synthetic.stage import render

__all__ = ["render"]
