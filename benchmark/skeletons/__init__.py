"""Supervised classification of skeleton clips, with distillation in stages: DKE-GCN's own protocol.

A suite with ``protocol = "supervised"`` (`suite`) names a data set of joints, a teacher network, students and whom
each learns from. `bench` opens it: clips, their parts, the run folder. `stages` trains a network after those it learns
from, each once; `rows` says which records there are: a network of one stream, or streams summed; `scoring` makes them,
`running` goes through them. Row names are network-stream/setting/seed@variant; the records are those of every suite.
"""
