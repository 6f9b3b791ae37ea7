"""CTX: cross-transformers (Doersch et al., NeurIPS 2020) over single frames, as the field uses them for video."""

from fewdistill.students.heads import HEADS
from fewdistill.students.heads.trx import TRX


@HEADS.register("ctx")
class CTX(TRX):
    """TRX with tuples of one frame: queries attend to support frames one by one. Arguments as for TRX."""

    def __init__(
        self, width: int, frames: int = 8, *, head_width: int = 1152, dropout: float = 0.1, logit_scale: float = 1.0
    ) -> None:
        super().__init__(
            width, frames, tuple_sizes=(1,), head_width=head_width, dropout=dropout, logit_scale=logit_scale
        )
