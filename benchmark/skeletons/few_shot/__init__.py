"""Few-shot episodes of skeleton clips, with distillation in stages: the classes of training are not those of the test.

A suite with ``protocol = "episodic"`` (`suite`) names a data set of joints and how its classes are divided, or a second
data set to test on. `arena` holds both, `stages` trains (by labels, then in episodes, with a teacher's answers where
there is one), `scoring` gives the records of every suite of episodes, `running` opens a suite and says its rules. Row
names are network/setting/seed@variant.
"""
