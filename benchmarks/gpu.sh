#!/usr/bin/env bash
# What a machine with a GPU has to show, in at most eight minutes. Prints everything.
#
#   bash benchmarks/gpu.sh              # BATCH=64 where the memory ends
#   DEVICE=cpu bash benchmarks/gpu.sh   # a tiny network, to see that it runs
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
device=${DEVICE:-cuda}
export PYTHONPATH=$PWD OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} PYTHONUNBUFFERED=1
options=(--norms --rounds 5 --n-samples "${BATCH:-128}" --device "$device")
failed=0 slack=1
# Nothing hurries where there is no GPU to give back.
if [ "$device" = cpu ]; then options+=(--quick --threads 1) slack=10; fi

# A step that fails or takes too long leaves the others their time.
step() {
  printf '\n== %s ==\n' "${*:2}"
  timeout --kill-after=5 $((slack * $1)) "${@:2}" || { echo "FAILED: $?" && failed=1; }
}

[ "$device" = cpu ] || step 10 nvidia-smi
mapfile -t files < <(grep -rl "mark\.gpu" tests --include="*.py")
step 180 "$python" -m pytest -q -p no:cacheprovider -m gpu "${files[@]}"
step 100 "$python" benchmarks/engine.py --network resnet18 "${options[@]}"
step 180 "$python" benchmarks/engine.py --network resnet50 "${options[@]}"
exit $failed
