"""How fast the suite is: each part beside the plain way of doing it and the machine's own limits.

``python -m tools.speed`` runs every case one after the other, each side in a process of its own. Ratios are the
result; nothing is asserted about time.
"""
