#!/bin/bash
# One row of a suite an array task; fewdistill must be on the PATH, runs/ and data/ on a file system that all nodes
# share and that knows flock (NFS 4, Lustre with -o flock, GPFS, BeeGFS with tuneUseGlobalFileLocks).
#
#   rows=$(fewdistill status SUITE --json | grep -c '"row"')
#   sbatch --array=0-$((rows - 1)) recipes/slurm-array.sh SUITE [options of fewdistill run]
#
# Tasks meet in the folders alone: a stage that rows share is trained by the first that needs it, the others wait and
# say so. So that they need not wait, train the teachers first (their rows: PREFIX=teacher/) and the students after:
#
#   first=$(PREFIX=teacher/ sbatch --parsable --array=0-2 recipes/slurm-array.sh SUITE)
#   sbatch --dependency=afterany:$first --array=0-$((rows - 1)) recipes/slurm-array.sh SUITE
#
# No task draws the report; `fewdistill run SUITE` does when all have ended.
#
# A task that was preempted, killed or ran out of time is queued again, by Slurm or by the same sbatch: it goes on from
# its checkpoint, and rows that stand end at once.
#SBATCH --job-name=fewdistill
#SBATCH --requeue
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
set -euo pipefail
suite=${1:?usage: sbatch --array=0-N slurm-array.sh SUITE [options of fewdistill run]}
shift

list='import json, sys; print(*(row["row"] for row in json.load(sys.stdin)), sep="\n")'
found=$(fewdistill status "$suite" --json | python3 -c "$list")
mapfile -t rows < <(printf '%s\n' "$found" | grep "^${PREFIX:-}")
if ((SLURM_ARRAY_TASK_ID >= ${#rows[@]})); then
  echo "no row $SLURM_ARRAY_TASK_ID: $suite has ${#rows[@]} rows${PREFIX:+ that begin with $PREFIX}, from 0" >&2
  exit 2
fi
exec fewdistill run "$suite" --no-report --only "${rows[$SLURM_ARRAY_TASK_ID]}" "$@"
