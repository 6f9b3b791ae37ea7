"""Suites of skeleton networks with distillation in stages: supervised classification, and few-shot episodes.

`place` holds an opened suite's clips and networks, `rules` what a protocol says of its rows and the run through them.

A suite with ``protocol = "supervised"`` (`suite`), DKE-GCN's own, names a data set of joints, a teacher network,
students and whom each learns from. `bench` opens it: the parts of its split. `stages` trains a network after those it
learns from, each once; `rows` says which records there are: a network of one stream, or streams summed; `scoring`
makes them, `running` has their rules. Row names are network-stream/setting/seed@variant; the records are those of
every suite. A suite with ``protocol = "episodic"`` is in `few_shot`.
"""
