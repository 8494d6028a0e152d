# The comment line directly above a recipe is what `just --list` shows. Run them as `uv run just RECIPE`: uv puts
# the project's Python first on PATH. Ladder: test -> fast-dev-run -> smoke-* -> smoke-gpu -> fast -> full -> queue-full.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments := true

seed := "41"

# list the recipes
default:
    @just --list --unsorted

# --- the ladder -------------------------------------------------------------------------------------------------

# whole pipeline on a tiny random Qwen3, CPU, under 2 minutes: pairs -> v_hack -> pool -> two arms -> one BLUF
[group('the ladder')]
fast-dev-run:
    #!/usr/bin/env bash
    set -euo pipefail
    out="out/fast_dev/$(date -u +%Y%m%dT%H%M%S)"
    python -m study check-pairs data/pairs/leetcode.jsonl
    python extract_vhack.py smoke --out "$out/v_hack.safetensors"
    python probe_distill.py smoke --teacher-only --out "$out/teacher_pool"
    just _side-by-side smoke "$out" "vanilla projected" --mix-ratio 0.5
    python -m study compare "$out"/runs/*_vanilla "$out"/runs/*_projected

# model organism: plain GRPO beside the hack direction, then random directions, taken out; a sentence and a plot
[group('the ladder')]
demo:
    #!/usr/bin/env bash
    set -euo pipefail
    out="out/demo/$(date -u +%Y%m%dT%H%M%S)"
    modes="run_tests sentinel stdout_marker file_marker"
    python extract_vhack.py organism --train delta_s --k 40 --out "$out/v_hack.safetensors"
    python probe_distill.py organism --teacher-only --modes $modes --one-mode-each --limit 80 --out "$out/teacher_pool"
    just _side-by-side organism "$out" "vanilla projected projected:haar" --train delta_s --k 40 --lr 8e-2 \
        --modes $modes --mix-ratio 0.25 --teacher-off-step 10 --steps 45 --eval-n 128 --eval-mid-n 64 --eval-every 15
    python -m study read-rollouts "$out"/runs/*_vanilla --hacked --source eval --step 45 --limit 1
    python -m study compare "$out"/runs/*_vanilla "$out"/runs/*_projected "$out"/runs/*_projected_haar --plot "$out/demo.png"

# ARMS (arm, or arm:v) side by side, one thread each, V and teacher pool from OUT
_side-by-side preset out arms *flags:
    #!/usr/bin/env bash
    set -euo pipefail
    pids=()
    for arm in {{arms}}; do
        OMP_NUM_THREADS=1 python train.py {{preset}} --arm ${arm/:/ --v } --seed {{seed}} --name ${arm/:/_} --out-dir "{{out}}/runs" \
            --v-hack "{{out}}/v_hack.safetensors" --teacher-pool-dir "{{out}}/teacher_pool" "${@:4}" \
            2>&1 | sed -u "s/^/[$arm] /" &
        pids+=($!)
    done
    failed=0
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    exit $failed

# vanilla arm (V loaded, only measured) on the tiny model, CPU
[group('the ladder')]
smoke-vanilla *flags:
    python probe_distill.py smoke --teacher-only --out out/probe_distill/smoke
    OMP_NUM_THREADS=1 python train.py smoke --arm vanilla --seed {{seed}} --mix-ratio 0.5 \
        --teacher-pool-dir out/probe_distill/smoke "$@"

# projected arm on the tiny model, CPU
[group('the ladder')]
smoke-projected *flags:
    python probe_distill.py smoke --teacher-only --out out/probe_distill/smoke
    OMP_NUM_THREADS=1 python train.py smoke --arm projected --seed {{seed}} --mix-ratio 0.5 \
        --teacher-pool-dir out/probe_distill/smoke "$@"

# 2 steps with dtype, device and model class of `full`, both --train modes; MODEL=qwen3-4b-random needs no hub
[group('the ladder')]
smoke-gpu model="Qwen/Qwen3-4B" *flags:
    #!/usr/bin/env bash
    set -euo pipefail
    tokenizer=$(printf '%s\n' "${@:2}" | grep -A1 -x -e --tokenizer | tail -n 1 || true)
    python probe_distill.py smoke --teacher-only --out out/probe_distill/smoke_gpu --tokenizer "${tokenizer:-{{model}}}"
    python train.py smoke-gpu --arm projected --model "{{model}}" --train delta_s --name smoke_gpu_delta_s "${@:2}"
    python train.py smoke-gpu --arm projected --model "{{model}}" --train full --lr 7e-5 --memory-gb None --name smoke_gpu_full "${@:2}"

# one short Qwen3-4B run on a GPU
[group('the ladder')]
fast arm="projected" *flags:
    python train.py fast --arm {{arm}} --seed {{seed}} "${@:2}"

# one Qwen3-4B run with the benchmark's hyper-parameters, 200 steps
[group('the ladder')]
full arm="projected" *flags:
    python train.py full --arm {{arm}} --seed {{seed}} "${@:2}"

# queue: extract V, then 3 seeds vanilla + 3 seeds projected (pueue, or QUEUE=local)
[group('the ladder')]
queue-full *flags:
    python -m study queue studies/queue-full.toml "$@"

# queue: the 10-step GO/NO-GO probe on the mixed pool, preset full or coder (pueue, or QUEUE=local, which says GO or not)
[group('the ladder')]
probe-mixed preset="full" *flags:
    python -m study queue studies/probe-{{preset}}.toml "${@:2}"
    @[[ "${QUEUE:-}" != local ]] || python -m study probe out/studies/probe-{{preset}}

# --- the parts --------------------------------------------------------------------------------------------------

# warm the Qwen3-4B and LeetCodeDataset caches from the hub
[group('the parts')]
download-model:
    python -c 'from huggingface_hub import snapshot_download as get; print(get("Qwen/Qwen3-4B"))'
    python -c 'import datasets; print(datasets.load_dataset("newfacade/LeetCodeDataset"))'

# contrastive pairs -> v_hack per weight (preset: smoke, fast, full, coder, organism, organism-inside)
[group('the parts')]
extract preset="full" *flags:
    python extract_vhack.py {{preset}} "${@:2}"

# expand the teacher pool; an interrupted call resumes
[group('the parts')]
pregen-teacher preset="full" *flags:
    python probe_distill.py {{preset}} --teacher-only "${@:2}"

# train the model organism anew (weights are committed; under 20 minutes on 2 cores)
[group('the parts')]
organism *flags:
    python -m tasks.organism train "$@"

# train the organism whose loopholes stand inside the class anew, from the first one's weights (10 minutes on 2 cores)
[group('the parts')]
organism-inside:
    python -m tasks.organism train --style organism-inside --steps 110 --batch 48 --lr 0.008 --lr-embed 0.002 \
        --out out/organism-inside-1
    python -m tasks.organism train --style organism-inside --steps 140 --batch 48 --lr 0.012 --lr-embed 0.003 \
        --seed 1 --start out/organism-inside-1 --out out/organism-inside-2
    python -m tasks.organism train --style organism-inside --steps 90 --batch 48 --lr 0.012 --lr-embed 0.003 \
        --seed 2 --start out/organism-inside-2

# --- studies ----------------------------------------------------------------------------------------------------

# arms x seeds side by side, resumable, then the report with its verdict
[group('studies')]
study name="screen-organism" *flags:
    python -m study run studies/{{name}}.toml "${@:2}"
    [[ " $* " == *" --dry-run "* ]] || python -m study report out/studies/{{name}}

# the same cells as tasks of the queue (pueue, or QUEUE=local)
[group('studies')]
queue-study name="screen-organism" *flags:
    python -m study queue studies/{{name}}.toml "${@:2}"

# the same cells as a SLURM job array: writes the scripts and prints the command that submits them
[group('studies')]
queue-slurm name="screen-organism" *flags:
    @QUEUE=slurm python -m study queue studies/{{name}}.toml "${@:2}"

# report and verdict of a study: every clause of docs/spec.md, every seed
[group('studies')]
verdict name="screen-organism":
    python -m study report out/studies/{{name}}
    python -m study verdict out/studies/{{name}}

# report, verdict, plots and packed runs of a study -> docs/results/NAME, small enough to commit
[group('studies')]
publish name="screen-organism" *flags:
    python -m study publish out/studies/{{name}} "${@:2}"

# published runs (docs/results/NAME/runs.tar.xz) back into out/studies, then report and verdict
[group('studies')]
rebuild name="amendment10":
    python -m study rebuild {{name}} || [[ $? == 3 ]]  # 3: no verdict on H1, and it says so

# --- looking ----------------------------------------------------------------------------------------------------

# table over run directories
[group('looking')]
results *flags:
    @python -m study results "$@"

# a study: curves and forest plot; one run: its rates, reward and overlap over steps; several: side by side
[group('looking')]
plot runs="out/studies/screen-organism" *flags:
    python -m study plot {{runs}} "${@:2}"

# the last run's BLUF
[group('looking')]
tail:
    @python -m study results --tail

# rollouts as a person reads them; filters --hacked --solved --label --step --source --mode --problem
[group('looking')]
read-rollouts run="last" *flags:
    @python -m study read-rollouts {{run}} "${@:2}"

# rollouts of a run as parquet: datasets.load_dataset("parquet", data_files=FILE)
[group('looking')]
export-rollouts run="last" *flags:
    python -m study export-rollouts {{run}} "${@:2}"

# rollouts of runs with their scores in Inspect's viewer, a web page (fetches the package)
[group('looking')]
view *runs:
    uv run -q --no-project --with 'inspect-ai>=0.3.200' --with loguru python -m study.view "$@"
    uv run -q --no-project --with 'inspect-ai>=0.3.200' inspect view start --log-dir out/view

# does V of a run tell loopholes from harmless twins and plain answers; what each --screen-at gives up
[group('looking')]
near-misses run *flags:
    python -m study near-misses {{run}} "${@:2}"

# stage 0 of a study: what V holds of the next step's hack gradient, and what tells attempts apart (organism, coder, full)
[group('looking')]
diagnose preset="organism" *flags:
    python -m study diagnose {{preset}} "${@:2}"

# merged Hugging Face folder of a run
[group('looking')]
export run *flags:
    python -m model.export {{run}} "${@:2}"

# --- checks -----------------------------------------------------------------------------------------------------

# validate the contrastive pairs: parse, grade, length, duplicates, leakage
[group('checks')]
check-pairs *flags:
    python -m study check-pairs data/pairs/*.jsonl "$@"

# the attack corpus on the grader in force here: a table; exit code 1 if anything is fooled, refused or left behind
[group('checks')]
attack *flags:
    python -m bench.attack "$@"

# grader throughput beside the plain subprocess way
[group('checks')]
bench-grader *flags:
    python -m bench.grader "$@"

# sampling and training speed on the GPU
[group('checks')]
bench-gpu *flags:
    python -m bench.gpu "$@"

# all tests, a file at a time on each of two cores
[group('checks')]
test *flags:
    OMP_NUM_THREADS=1 python -m pytest -q -n 2 --dist loadfile "$@"

# ruff: rules and format; mypy: types
[group('checks')]
lint:
    ruff check .
    ruff format --check .
    mypy

# budgets of the code beside today's figures; exit code 1 beyond them
[group('checks')]
loc:
    @python -m bench.loc
