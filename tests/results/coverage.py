"""How far a share of simulations may lie from what is true."""

import math


def margin(sims: int, share: float = 0.95) -> float:
    """Four binomial standard errors of a share."""
    return 4 * math.sqrt(share * (1 - share) / sims)
